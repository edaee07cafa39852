package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// go test ./ingest/journal -run XXX -bench Append -benchtime 2s
//
// Clients push batches of 1000 web requests of 120 bytes and wait for each to
// be durable; readers take and commit them. The directory is on the disk of the
// temporary directory.
func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkAppend(b, clients) })
	}
}

func benchmarkAppend(b *testing.B, clients int) {
	const partitions, events = 2, 1000
	j, err := Open(Options{Dir: b.TempDir(), Streams: map[string]int{"web": partitions}, Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for p := range partitions {
		if err := j.Advance("web", p, 0); err != nil {
			b.Fatal(err)
		}
		rd, err := j.Reader("web", p)
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			for {
				batch, err := rd.Next(ctx)
				if err != nil {
					return
				}
				j.Committed("web", p, batch.To)
			}
		})
	}
	running.Go(func() {
		if err := j.Run(ctx); err != nil {
			b.Error(err)
		}
	})

	rng := rand.New(rand.NewPCG(1, 2))
	bodies := make([][]byte, 64)
	for i := range bodies {
		for range events {
			bodies[i] = fmt.Appendf(bodies[i], `{"time":"2026-01-01T00:%02d:%02d.%03dZ","service":"svc-%d","region":"eu-%d","user":"u%d","path":"/p/%d","latency":%.3f}`+"\n",
				rng.IntN(60), rng.IntN(60), rng.IntN(1000), rng.IntN(200), rng.IntN(5), rng.IntN(1e6), rng.IntN(20000), rng.ExpFloat64()*50)
		}
	}
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	var pushing sync.WaitGroup
	for c := range clients {
		pushing.Go(func() {
			for i := c; i < b.N; i += clients {
				if _, err := j.Append(ctx, "web", "", bodies[i%len(bodies)], events); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	pushing.Wait()
	b.StopTimer()
	n := float64(b.N) * events
	st := j.Stats()
	b.ReportMetric(n/b.Elapsed().Seconds()/1e6, "Mevents/s")
	b.ReportMetric((cpu(b)-before).Seconds()/n*1e6, "cpu-s/Mevents")
	b.ReportMetric(float64(b.N)/float64(st.Fsyncs), "batches/fsync")
	b.ReportMetric(float64(st.FsyncTime.Microseconds())/float64(st.Fsyncs)/1000, "ms/fsync")
	cancel()
	running.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
