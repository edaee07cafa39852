package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/store"
)

// season is traffic with a season of an hour, noise, and troubles at known times.
func season(rng *rand.Rand, minutes int64) traffic {
	type trouble struct {
		from, to int64
		factor   float64
		service  string
	}
	var troubles []trouble
	for m := int64(300); m < minutes; m += 20 + rng.Int64N(60) {
		troubles = append(troubles, trouble{m, m + 1 + rng.Int64N(12), []float64{0, 0.2, 3}[rng.IntN(3)], []string{"api", "auth", ""}[rng.IntN(3)]})
	}
	noise := make([]float64, minutes*6)
	for i := range noise {
		noise[i] = rng.NormFloat64()
	}
	return func(m int64, service, region string) (int64, int64) {
		at := 0
		for i, name := range []string{"apieu", "apius", "autheu", "authus", "webeu", "webus"} {
			if name == service+region {
				at = i
			}
		}
		x := 200 + 100*float64(m%60)/60 + 10*noise[m*6+int64(at)]
		for _, tr := range troubles {
			if m >= tr.from && m < tr.to && (tr.service == "" || tr.service == service) {
				x *= tr.factor
			}
		}
		return int64(x), int64(x / 50)
	}
}

func watched3(w *world) []*weir.DetectorConfig {
	return []*weir.DetectorConfig{
		w.detector(weir.DetectorConfig{Name: "season", By: []string{"service"}, Seasonal: &weir.SeasonalConfig{Periods: []time.Duration{time.Hour}, OneIn: 1e5, Warmup: 3 * time.Hour}}),
		w.detector(weir.DetectorConfig{Name: "level", Value: "failed.sum / count", Gap: "ignore", Threshold: &weir.ThresholdConfig{Above: limit(0.0199)}, For: 2}),
		w.detector(weir.DetectorConfig{Name: "least", By: []string{"service", "region"}, Gap: "alarm", Threshold: &weir.ThresholdConfig{Below: limit(100)}, Window: 2 * time.Minute}),
	}
}

// crashing is a store and a receiver at which the process dies now and then: at
// a put before or after it took place, or when it tells.
type crashing struct {
	store.Bucket
	rng  *rand.Rand
	odds float64
	died context.CancelFunc
}

var errDied = errors.New("the process died")

func (c *crashing) dies() bool { return c.rng.Float64() < c.odds }

func (c *crashing) Put(ctx context.Context, name string, data []byte) error {
	if c.dies() {
		c.died()
		return errDied
	}
	err := c.Bucket.Put(ctx, name, data)
	if c.dies() {
		c.died()
		return errDied
	}
	return err
}

func (c *crashing) Read(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.Bucket.Read(ctx, name)
}

// written is an incident but for what the clock said.
func written(t *testing.T, i weir.Incident) string {
	i.Recorded = time.Time{}
	text, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// However often the process dies, what is told is what would have been told if it
// had not.
func TestCrashesChangeNothing(t *testing.T) {
	rng := seed(t)
	minutes := int64(1000)
	if testing.Short() {
		minutes = 600
	}
	of := season(rng, minutes)
	run := func(odds float64, restart func() bool) ([]weir.Incident, int) {
		w := newWorld(t)
		detectors := watched3(w)
		crashes := 0
		var watcher *Watcher
		begin := func() {
			w.open()
			watcher = w.watcher(detectors...)
		}
		begin()
		for w.next < minutes {
			w.write(1, of)
			for again := true; again; {
				again = false
				ctx, died := context.WithCancel(t.Context())
				for _, r := range watcher.streams[0].runners {
					c := &crashing{Bucket: w.bucket, rng: rng, odds: odds, died: died}
					r.keeper.bucket = c
					r.keeper.log = incident.NewLog(c, []incident.Ref{r.keeper.ref(r.def)}, incident.Options{Now: func() time.Time { return w.now }})
					r.tell = func(ctx context.Context, i *weir.Incident, hooks []string) error {
						if c.dies() {
							died()
							return errDied
						}
						return w.tell(ctx, i, hooks)
					}
				}
				err := watcher.look(ctx, watcher.streams[0])
				died()
				switch {
				case errors.Is(err, errDied) || errors.Is(err, context.Canceled):
					crashes++
					again = true
					begin()
				case err != nil:
					t.Fatal(err)
				case restart():
					crashes++
					begin()
				}
			}
		}
		return w.told, crashes
	}
	want, _ := run(0, func() bool { return false })
	got, crashes := run(0.1, func() bool { return rng.IntN(60) == 0 })
	strip := func(in []weir.Incident) map[string]string {
		out := make(map[string]string)
		for _, i := range in {
			out[fmt.Sprint(i.ID, "-", i.Version)] = written(t, i)
		}
		return out
	}
	t.Logf("%d messages, %d crashes", len(want), crashes)
	if len(want) < 10 || crashes < 10 {
		t.Errorf("%d messages and %d crashes, which shows little", len(want), crashes)
	}
	if diff := cmp.Diff(strip(want), strip(got)); diff != "" {
		t.Errorf("told (-without crashes +with):\n%s", diff)
	}
}
