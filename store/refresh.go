package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// refresh takes the steps of the protocol:
//
//  1. The highest-numbered manifest, by listing.
//  2. Each chain from that manifest's frontier until a read says absent.
//  3. The manifests again: has one appeared since, what is absent may have been
//     deleted, so all is begun again. (A manifest that moved no frontier would
//     do no harm, but is not worth telling apart.)
//
// The caller holds turn.
func (c *Catalog) refresh(ctx context.Context) (*Snapshot, error) {
	for range restarts {
		taken := c.now()
		manifest, err := c.manifest(ctx)
		if errors.Is(err, errMoved) {
			continue
		} else if err != nil {
			return nil, err
		}
		snapshot, lost, err := c.walkAll(ctx, manifest)
		if errors.Is(err, errMoved) {
			continue
		} else if err != nil {
			return nil, err
		}
		newest, err := newestManifest(ctx, c.bucket, c.stream.Name, manifest.number())
		if err != nil {
			return nil, err
		}
		if newest == manifest.number() {
			for _, g := range lost {
				c.logLost(SegmentName(c.stream.Name, g.Partition, g.From), g.Reason, g.Detail)
			}
			snapshot.Taken = taken
			return snapshot, nil
		}
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
func (c *Catalog) walkAll(ctx context.Context, m *Manifest) (snapshot *Snapshot, lost []Gap, err error) {
	partitions := make(map[string]bool)
	listed, err := listEscaped(ctx, c.bucket, segmentsFolder(c.stream.Name))
	if err != nil {
		return nil, nil, err
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

	snapshot = &Snapshot{Manifest: m}
	var mu sync.Mutex // guards snapshot and lost
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(walkers)
	for p := range partitions {
		group.Go(func() error {
			w := walk{catalog: c, partition: p, manifest: m, last: last}
			chain, err := w.run(ctx)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			snapshot.Quarantined = append(snapshot.Quarantined, w.quarantined...)
			snapshot.Chains = append(snapshot.Chains, chain)
			lost = append(lost, w.lost...)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(snapshot.Chains, func(a, b Chain) int { return strings.Compare(a.Partition, b.Partition) })
	slices.SortFunc(snapshot.Quarantined, func(a, b Quarantined) int { return strings.Compare(a.Name, b.Name) })
	return snapshot, lost, nil
}
