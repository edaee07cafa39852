package sketch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"

	"github.com/weir-stream/weir/sketch"
)

// go test -run "^$" -bench . -cpu 1 -benchtime 100ms -count 6 | go tool benchstat -col /lib -
//
// cpu-ns/op is processor time: on a machine that others use, compare that.

func cpuNanos() int64 {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

// measure runs f, which does its work that many times.
func measure(b *testing.B, per int, f func()) {
	b.Helper()
	before := cpuNanos()
	for b.Loop() {
		f()
	}
	n := float64(b.N * per)
	b.ReportMetric(float64(cpuNanos()-before)/n, "cpu-ns/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/op")
}

// unique events of lognormal values, and Zipf ones.
func uniqueEvents(seed uint64, n int) []event {
	rng := rand.New(rand.NewPCG(seed, 1))
	events := make([]event, n)
	for i := range events {
		events[i] = itemEvent(seed<<32|uint64(i), math.Exp(1.5*rng.NormFloat64()))
	}
	return events
}

func zipfEvents(seed uint64, n int) []event {
	rng := rand.New(rand.NewPCG(seed, 2))
	z := rand.NewZipf(rng, 1.1, 1, 1<<20)
	events := make([]event, n)
	for i := range events {
		events[i] = itemEvent(z.Uint64(), math.Exp(1.5*rng.NormFloat64()))
	}
	return events
}

func BenchmarkDistinct(b *testing.B) { compare(b, distinct(), uniqueEvents) }
func BenchmarkQuantile(b *testing.B) { compare(b, quantiles(), uniqueEvents) }
func BenchmarkHeavy(b *testing.B)    { compare(b, heavy(), zipfEvents) }

func compare(b *testing.B, contenders []contender, stream func(seed uint64, n int) []event) {
	const n = 1 << 17
	events, others := stream(1, n), stream(2, n)
	run := func(op string, c contender, f func(b *testing.B)) {
		b.Run("op="+op+"/lib="+c.name, f)
	}
	for _, c := range contenders {
		full := c.fresh()
		c.add(full, events)
		if s, ok := full.(sketch.Quantiles); ok {
			s.Settle()
		}
		c.ask(full) // which makes the others take in what waits
		run("add", c, func(b *testing.B) {
			s := c.fresh()
			c.add(s, others)
			measure(b, n, func() { c.add(s, events) })
		})
		run("merge", c, func(b *testing.B) {
			into := c.fresh()
			c.add(into, others)
			measure(b, 1, func() { c.merge(into, full) })
		})
		run("estimate", c, func(b *testing.B) {
			measure(b, 1, func() { c.ask(full) })
		})
		if c.encode == nil {
			continue
		}
		data := c.encode(full)
		run("encode", c, func(b *testing.B) {
			measure(b, 1, func() { data = c.encode(full) })
			b.ReportMetric(float64(len(data)), "bytes")
		})
		run("decode", c, func(b *testing.B) {
			measure(b, 1, func() { c.decode(data) })
		})
	}
}

// BenchmarkMemory reports what a sketch of n events takes in memory and encoded.
func BenchmarkMemory(b *testing.B) {
	for _, group := range [][]contender{distinct(), quantiles(), heavy()} {
		for _, c := range group {
			for _, n := range []int{1, 10, 100, 1000, 10_000} {
				b.Run(fmt.Sprintf("n=%d/lib=%s", n, c.name), func(b *testing.B) {
					const many = 50
					events := uniqueEvents(3, n)
					kept := make([]any, many)
					before := heap()
					for i := range kept {
						kept[i] = c.fresh()
						c.add(kept[i], events)
					}
					after := heap()
					runtime.KeepAlive(events)
					for b.Loop() { // nothing to time
					}
					b.ReportMetric(float64(after-before)/many, "bytes")
					if c.encode != nil {
						b.ReportMetric(float64(len(c.encode(kept[0]))), "wire-bytes")
					}
					b.ReportMetric(0, "ns/op")
					runtime.KeepAlive(kept)
				})
			}
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

const series = 100_000

// BenchmarkSeries updates one of 100,000 series, picked by Zipf: where the
// memory, not the arithmetic, decides.
func BenchmarkSeries(b *testing.B) {
	const updates = 1 << 20
	rng := rand.New(rand.NewPCG(5, 5))
	z := rand.NewZipf(rng, 1.1, 10, series-1)
	picks := make([]uint32, updates)
	for i := range picks {
		picks[i] = uint32(z.Uint64())
	}
	events := uniqueEvents(4, updates)
	for _, group := range [][]contender{distinct(), quantiles()} {
		for _, c := range group {
			b.Run("lib="+c.name, func(b *testing.B) {
				before := heap()
				var all []any
				measure(b, updates, func() {
					all = make([]any, series)
					for i, p := range picks {
						s := all[p]
						if s == nil {
							s = c.fresh()
							all[p] = s
						}
						c.add(s, events[i:i+1])
					}
				})
				b.ReportMetric(float64(heap()-before)/series, "bytes/series")
				runtime.KeepAlive(all)
			})
		}
	}
	b.Run("lib=weir-cell", func(b *testing.B) {
		// Count, sum, distinct and quantiles, with the series in one slice.
		type cell struct {
			count  uint64
			sum    float64
			hll    sketch.HLL
			digest sketch.TDigest
		}
		hll, digest := sketch.NewHLL(14, 0), sketch.NewTDigest(100)
		before := heap()
		var cells []cell
		measure(b, updates, func() {
			cells = make([]cell, series)
			for i := range cells {
				cells[i].hll, cells[i].digest = *hll, *digest
			}
			for i, p := range picks {
				c, e := &cells[p], &events[i]
				c.count++
				c.sum += e.value
				c.hll.AddHash(e.hash)
				c.digest.Add(e.value)
			}
		})
		b.ReportMetric(float64(heap()-before)/series, "bytes/series")
		runtime.KeepAlive(cells)
	})
}
