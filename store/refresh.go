package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	// walkers bounds how many chains are walked at once.
	walkers = 8

	// restarts bounds how often manifests may move under one refresh.
	restarts = 16
)

var (
	// errMoved says that compaction overtook a refresh, which begins again.
	errMoved = errors.New("compaction overtook the refresh")

	// ErrWentBack says that the store holds less than it did: somebody deleted
	// or restored it, or it lost what it had called durable.
	ErrWentBack = errors.New("the store went back")
)

// holeKey is a place where a chain is interrupted: nothing is stored at the
// name that its last segment points to, though later names are listed.
type holeKey struct {
	partition string
	from, to  int64
}

// refresh takes the steps of the protocol:
//
//  1. The highest-numbered manifest, by listing.
//  2. Each chain from that manifest's frontier until a read says absent.
//  3. The manifests again: has one appeared since, what is absent may have been
//     deleted, so all is begun again. (A manifest that moved no frontier would
//     do no harm, but is not worth telling apart.)
//
// A name that was listed before the walk and is not on the chain, with no new
// manifest at step 3, is something that nothing of ours does: the segment
// before it was lost. It is noted as a hole, and the next round goes on behind.
//
// The caller holds turn.
func (c *Catalog) refresh(ctx context.Context) (*Snapshot, error) {
	holes := make(map[holeKey]bool)
	for range restarts {
		taken := c.now()
		manifest, err := c.manifest(ctx)
		if errors.Is(err, errMoved) {
			continue
		} else if err != nil {
			return nil, err
		}
		chains, quarantined, seen, err := c.walkAll(ctx, manifest, holes)
		if errors.Is(err, errMoved) {
			continue
		} else if err != nil {
			return nil, err
		}
		newest, err := newestManifest(ctx, c.bucket, c.stream.Name, manifest.number())
		if err != nil {
			return nil, err
		}
		if newest != manifest.number() {
			continue
		}
		if len(seen) > 0 {
			maps.Copy(holes, seen)
			continue
		}
		return &Snapshot{Manifest: manifest, Chains: chains, Quarantined: quarantined, Taken: taken}, nil
	}
	return nil, fmt.Errorf("%w each of %d times", errMoved, restarts)
}

// manifest returns the newest manifest, nil where there is none.
func (c *Catalog) manifest(ctx context.Context) (*Manifest, error) {
	known := c.current.Load().Manifest
	n, err := newestManifest(ctx, c.bucket, c.stream.Name, known.number())
	if err != nil || n == known.number() {
		return known, err
	}
	m, err := readManifest(ctx, c.bucket, c.stream.Name, n)
	if errors.Is(err, ErrNotFound) {
		return nil, errMoved
	} else if err != nil {
		return nil, err
	}
	if known != nil {
		for name, p := range known.Partitions {
			if now := m.Partitions[name]; now.Frontier < p.Frontier || now.Watermark < p.Watermark {
				return nil, fmt.Errorf("%w: manifest %d has partition %q at offset %d and watermark %d, manifest %d had it at %d and %d",
					ErrWentBack, m.N, name, now.Frontier, now.Watermark, known.N, p.Frontier, p.Watermark)
			}
		}
	}
	return m, nil
}

// walkAll walks the chains of all partitions: those listed, those known, and
// those in the manifest.
func (c *Catalog) walkAll(ctx context.Context, m *Manifest, holes map[holeKey]bool) ([]Chain, []Quarantined, map[holeKey]bool, error) {
	partitions := make(map[string]bool)
	listed, err := listEscaped(ctx, c.bucket, segmentsFolder(c.stream.Name))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, p := range listed {
		partitions[p] = true
	}
	if m != nil {
		for p := range m.Partitions {
			partitions[p] = true
		}
	}
	last := c.current.Load()
	for i := range last.Chains {
		partitions[last.Chains[i].Partition] = true
	}

	var (
		mu          sync.Mutex // guards what follows
		chains      []Chain
		quarantined []Quarantined
		seen        = make(map[holeKey]bool)
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(walkers)
	for p := range partitions {
		group.Go(func() error {
			w := walk{catalog: c, partition: p, manifest: m, holes: holes}
			chain, err := w.run(ctx, last)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			quarantined = append(quarantined, w.quarantined...)
			if w.hole != nil {
				seen[*w.hole] = true
			}
			chains = append(chains, chain)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, nil, err
	}
	slices.SortFunc(chains, func(a, b Chain) int { return cmpString(a.Partition, b.Partition) })
	slices.SortFunc(quarantined, func(a, b Quarantined) int { return cmpString(a.Name, b.Name) })
	return chains, quarantined, seen, nil
}
