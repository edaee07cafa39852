package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// traffic is a seeded stream of web requests of a made-up shop. It has what
// real ones have: a few services and pages get most of it, people sleep, and
// are slower to be served when many are awake.
//
// The same seed and times give the same requests.
type traffic struct {
	random  *rand.Rand
	service *rand.Zipf
	page    *rand.Zipf
	user    *rand.Zipf
	perHour float64 // on average over a day
}

var (
	demoServices = []string{"catalog", "search", "cart", "login", "checkout", "account", "reviews", "support"}
	demoRegions  = []string{"eu", "us", "asia"}
)

const (
	demoUsers = 200_000
	demoPages = 5_000
)

func newTraffic(seed uint64, perHour float64) *traffic {
	random := rand.New(rand.NewPCG(seed, 0x77656972))
	return &traffic{
		random:  random,
		service: rand.NewZipf(random, 1.3, 2, uint64(len(demoServices)-1)),
		page:    rand.NewZipf(random, 1.1, 3, demoPages-1),
		user:    rand.NewZipf(random, 1.05, 50, demoUsers-1),
		perHour: perHour,
	}
}

// season is the share of the day's average at a time: busiest at eight in the
// evening, a fifth of that at its quietest, and a little less at weekends.
func season(t time.Time) float64 {
	t = t.UTC()
	hours := float64(t.Hour()) + float64(t.Minute())/60
	share := 1 + 0.65*math.Cos((hours-20)/24*2*math.Pi)
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		share *= 0.8
	}
	return share
}

// appendRequests appends the requests of [from, to) as one JSON object a line,
// in the order of their times, and returns how many there are.
func (t *traffic) appendRequests(ndjson []byte, from, to time.Time) ([]byte, int) {
	share := season(from)
	expected := t.perHour * share * to.Sub(from).Hours()
	n := max(0, int(math.Round(expected+math.Sqrt(expected)*t.random.NormFloat64())))
	step := float64(to.Sub(from)) / float64(max(n, 1))
	for i := range n {
		// One somewhere in each n-th of the time: uniform, and in order.
		at := from.Add(time.Duration((float64(i) + t.random.Float64()) * step))
		ndjson = t.appendRequest(ndjson, at, share)
	}
	return ndjson, n
}

func (t *traffic) appendRequest(b []byte, at time.Time, share float64) []byte {
	service := int(t.service.Uint64())
	region := t.random.IntN(len(demoRegions))
	// Lognormal: most are quick and some are very slow. Later services do
	// more, and everything is slower when it is busy.
	latency := math.Exp(2.5 + 0.3*float64(service%5) + 0.5*share + 0.7*t.random.NormFloat64())
	b = append(b, `{"time":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","service":"`...)
	b = append(b, demoServices[service]...)
	b = append(b, `","region":"`...)
	b = append(b, demoRegions[region]...)
	b = append(b, `","path":"/`...)
	b = append(b, demoServices[service]...)
	b = append(b, '/')
	b = strconv.AppendUint(b, t.page.Uint64(), 10)
	b = append(b, `","user":"u`...)
	b = strconv.AppendUint(b, t.user.Uint64(), 10)
	b = append(b, `","latency_ms":`...)
	b = strconv.AppendFloat(b, latency, 'f', 2, 64)
	return append(b, "}\n"...)
}

// demoConfig is the configuration of the demo's server.
func demoConfig(store string, listen string) string {
	return fmt.Sprintf(`store: %q
listen: %q
streams:
  requests:
    source: {push: {}}
    time: {field: time, format: rfc3339, lateness: 5s}
    window: 1m
    dimensions: [service, region]
    measures:
      latency: {quantile: latency_ms}
      user: {distinct: user}
      path: {top: path}
`, store, listen)
}
