package ingest

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
)

// shared is what a node reads of a source whose partitions come and go.
type shared struct {
	node   *Node
	stream *weir.Stream
	ctx    context.Context
	group  *errgroup.Group // of the partitions' goroutines

	mu    sync.Mutex
	parts map[string]*part // guarded by mu; those that are ours, and those that are still being left
	over  bool             // guarded by mu; nothing is started any more
}

// part is one partition's reading.
type part struct {
	stop    context.CancelFunc
	done    chan struct{} // closed when nothing of it runs any more
	stopped bool
	worker  *worker
}

// share reads what the source assigns to this process, until ctx is done. It
// leaves the group only when all is stored: until then the partitions are ours.
func (n *Node) share(ctx context.Context, s *weir.Stream, source Source) error {
	group, reading := errgroup.WithContext(ctx)
	o := &shared{node: n, stream: s, ctx: reading, group: group, parts: make(map[string]*part)}
	member, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	group.Go(func() error { // keeps the group open to those that are assigned later
		<-reading.Done()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.over = true
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		ended <- group.Wait()
		leave()
	}()
	err := source.Run(member, o)
	if err != nil {
		group.Go(func() error { return err })
	}
	return <-ended
}

// Assigned starts and stops readings so that they are those of the partitions.
func (o *shared) Assigned(partitions map[string]func() Log) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, p := range o.parts {
		if _, ours := partitions[name]; !ours && !p.stopped {
			p.stopped = true
			p.stop()
		}
	}
	if o.over {
		return
	}
	for name, open := range partitions {
		before := o.parts[name]
		if before != nil && !before.stopped {
			continue
		}
		o.start(name, open, before)
	}
}

// settleAfter is how long after a partition began what is in memory is stored for
// the first time. If its last owner, who may have been storing just then, was
// first, this one is told, and drops cells that connect to no chain: until then,
// answers lack them. That should not take until the next flush.
const settleAfter = time.Second

// start begins to read a partition, once what was read of it before has ended:
// two workers of one process would answer for the same events.
func (o *shared) start(name string, open func() Log, before *part) {
	ctx, cancel := context.WithCancel(o.ctx)
	w := o.node.worker(o.stream, name, open(), o.node.interval(o.stream))
	w.started() // a node is ready though partitions come and go
	p := &part{stop: cancel, done: make(chan struct{}), worker: w}
	o.parts[name] = p
	o.group.Go(func() error {
		defer func() {
			cancel()
			close(p.done)
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.parts[name] == p {
				delete(o.parts, name)
			}
		}()
		if before != nil {
			<-before.done
		}
		defer time.AfterFunc(settleAfter, p.store).Stop()
		return o.node.work(ctx, w)
	})
}

// Revoked lets what is in memory be stored.
func (o *shared) Revoked() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.parts {
		p.store()
	}
}

// store lets what is in memory be stored soon.
func (p *part) store() {
	select {
	case p.worker.flushSoon <- struct{}{}:
	default:
	}
}
