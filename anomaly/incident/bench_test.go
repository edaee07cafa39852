package incident

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// What 10,000 stored windows cost, in a directory:
//
//	go test -run '^$' -bench . -benchtime 20x ./anomaly/incident
//
// Append includes the fsync of the file and of its folder.
func BenchmarkLog(b *testing.B) {
	const windows = 10_000
	bucket, err := store.OpenDirectory(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	l := newLog(bucket, traffic)
	for n := range int64(windows) {
		state := weir.Firing
		if n%2 == 1 {
			state = weir.Resolved
		}
		batch := window(traffic, n, states{n &^ 1: state})
		batch.Format, batch.ID = formatVersion, fmt.Sprint(n)
		data, err := batch.encode()
		if err != nil {
			b.Fatal(err)
		}
		name := traffic.name(n)
		if n < windows-1 {
			err = writeFile(bucket, name, data) // without the fsyncs of a put
		} else {
			err = bucket.Put(ctx, name, data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	next := int64(windows)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("begin", func() error {
		_, _, _, err := newLog(bucket, traffic).Open(ctx, traffic)
		return err
	})
	run("append", func() error {
		_, _, err := l.Append(ctx, window(traffic, next, states{next: weir.Firing}))
		next++
		return err
	})
	run("newest page", func() error {
		_, _, err := l.List(ctx, Filter{Limit: 100})
		return err
	})
	oldest := place{midnight.UnixNano() + 200*60e9, traffic.Detector, 200}.String()
	run("oldest page", func() error {
		_, _, err := l.List(ctx, Filter{Limit: 100, Page: oldest})
		return err
	})
	run("one incident", func() error {
		_, _, err := l.Incident(ctx, "traffic.5000")
		return err
	})
}

func writeFile(d *store.Directory, name string, data []byte) error {
	path := filepath.Join(d.Path(), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}
