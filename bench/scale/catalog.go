package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// counting is a bucket that counts what an object store would bill.
type counting struct {
	store.Bucket
	puts, gets, lists atomic.Int64
}

func (b *counting) Put(ctx context.Context, name string, data []byte) error {
	b.puts.Add(1)
	return b.Bucket.Put(ctx, name, data)
}

func (b *counting) Read(ctx context.Context, name string) ([]byte, error) {
	b.gets.Add(1)
	return b.Bucket.Read(ctx, name)
}

func (b *counting) Open(ctx context.Context, name string) (store.Object, error) {
	b.gets.Add(1)
	return b.Bucket.Open(ctx, name)
}

func (b *counting) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	b.lists.Add(1)
	return b.Bucket.List(ctx, folder, after)
}

func (b *counting) since() string {
	return fmt.Sprintf("%d puts, %d gets, %d lists", b.puts.Swap(0), b.gets.Swap(0), b.lists.Swap(0))
}

// catalog counts the requests of writers and readers of many chains, and what a
// segment that is known takes in memory.
func (b *bench) catalog(ctx context.Context) error {
	const each = 50 // segments of a partition
	directory, err := store.OpenDirectory(filepath.Join(b.dir, "catalog"))
	if err != nil {
		return err
	}
	bucket, quiet := &counting{Bucket: directory}, slog.New(slog.DiscardHandler)
	s := &weir.Stream{Name: "web", Window: 10 * time.Second, Dimensions: []weir.Dimension{{Name: "service", Field: "service"}},
		Measures: []weir.Measure{{Name: "latency", Kind: weir.Sum, Field: "latency"}}}
	writers := store.NewCatalog(bucket, s, quiet)
	for p := range b.partitions {
		w := store.NewWriter(writers, fmt.Sprint("kafka:web:", p), "bench")
		at, err := w.Takeover(ctx)
		if err != nil {
			return err
		}
		if p == b.partitions-1 {
			bucket.since()
		}
		for range each {
			meta := store.SegmentMeta{From: at.Next, To: at.Next + 1000, Log: "log", Watermark: at.Watermark}
			if at, _, err = w.Append(ctx, store.Draft{Meta: meta}); err != nil {
				return err
			}
		}
	}
	fmt.Printf("\n%d partitions of %d segments each\n", b.partitions, each)
	fmt.Printf("  %-42s %s\n", fmt.Sprintf("%d flushes of one partition", each), bucket.since())
	before := heap()
	reader := store.NewCatalog(bucket, s, quiet)
	for _, what := range []string{"first refresh, of a node that begins", "later refresh, nothing new"} {
		began := time.Now()
		if _, err := reader.Refresh(ctx); err != nil {
			return err
		}
		fmt.Printf("  %-42s %s; %v\n", what, bucket.since(), time.Since(began).Round(time.Millisecond))
	}
	known := int64(heap()) - int64(before)
	fmt.Printf("  %-42s %d bytes, its part of a bounded cache included\n", "memory of a segment that is known", known/int64(b.partitions*each))
	runtime.KeepAlive(reader)
	return nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
