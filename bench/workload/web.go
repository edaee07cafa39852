// Package workload makes seeded event streams whose exact answers are known.
package workload

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Web describes a stream of web requests: which service in which region
// answered which user on which path, and how long it took. Services, regions,
// users and paths are picked by Zipf, latencies are lognormal. One seed gives
// one stream, byte for byte.
//
//	{"time":"2026-01-01T00:00:00.007Z","service":"svc-000","region":"eu-west-1","user":"u0000042","path":"/v1/items/00017","latency":12.47}
type Web struct {
	Seed      uint64
	Events    int
	Start     time.Time
	PerSecond float64 // events a second of event time
	Services  int
	Users     int
	Paths     int
	Exponent  float64 // of Zipf, > 1
}

// Regions are the regions of the stream, most frequent first.
func Regions() []string {
	return []string{"eu-west-1", "us-east-1", "us-west-2", "ap-south-1", "sa-east-1"}
}

// Standard is the stream that ingest is measured with: 2 million requests to
// 200 services in 5 regions by a million users on 20,000 paths, 1,400 a second.
func Standard() Web {
	return Web{Seed: 1, Events: 2_000_000, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		PerSecond: 1400, Services: 200, Users: 1_000_000, Paths: 20_000, Exponent: 1.1}
}

// Request is one event of the stream.
type Request struct {
	Time    time.Time
	Service int
	Region  int
	User    int
	Path    int
	Latency float64 // milliseconds, two decimals
}

// Each calls fn with every request, in order of time.
func (w Web) Each(fn func(*Request) error) error {
	rng := rand.New(rand.NewPCG(w.Seed, 0x9e3779b97f4a7c15))
	services := rand.NewZipf(rng, w.Exponent, 1, uint64(w.Services-1))
	regions := rand.NewZipf(rng, w.Exponent, 1, uint64(len(Regions())-1))
	users := rand.NewZipf(rng, w.Exponent, 1, uint64(w.Users-1))
	paths := rand.NewZipf(rng, w.Exponent, 1, uint64(w.Paths-1))
	var r Request
	for i := range w.Events {
		r = Request{
			Time:    w.Start.Add(time.Duration(float64(i) / w.PerSecond * float64(time.Second))).Truncate(time.Millisecond),
			Service: int(services.Uint64()), Region: int(regions.Uint64()),
			User: int(users.Uint64()), Path: int(paths.Uint64()),
			Latency: math.Round(100*math.Exp(rng.NormFloat64()+3)) / 100,
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
}

// Append appends the request as a line of NDJSON.
func (r *Request) Append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","service":"`...)
	b = append(b, ServiceName(r.Service)...)
	b = append(b, `","region":"`...)
	b = append(b, Regions()[r.Region]...)
	b = append(b, `","user":"`...)
	b = append(b, fmt.Sprintf("u%07d", r.User)...)
	b = append(b, `","path":"`...)
	b = append(b, PathName(r.Path)...)
	b = append(b, `","latency":`...)
	b = strconv.AppendFloat(b, r.Latency, 'f', -1, 64)
	return append(b, "}\n"...)
}

// ServiceName names a service by its rank.
func ServiceName(rank int) string { return fmt.Sprintf("svc-%03d", rank) }

// PathName names a path by its rank.
func PathName(rank int) string { return fmt.Sprintf("/v1/items/%05d", rank) }

// WriteTo writes the stream as NDJSON.
func (w Web) WriteTo(out io.Writer) (int64, error) {
	buffered := bufio.NewWriterSize(out, 1<<20)
	var line []byte
	total := int64(0)
	err := w.Each(func(r *Request) error {
		line = r.Append(line[:0])
		n, err := buffered.Write(line)
		total += int64(n)
		return err
	})
	if err != nil {
		return total, err
	}
	return total, buffered.Flush()
}
