package notify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/store/storetest"
)

// moody is a receiver that fails in all ways, and knows what it has accepted:
// what a caller may not have learnt, if the answer was lost.
type moody struct {
	mu       sync.Mutex
	random   *rand.Rand
	calm     bool
	accepted []string // message IDs
	bad      int
}

func (m *moody) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if _, err := io.ReadAll(q.Body); err != nil {
		return
	}
	m.mu.Lock()
	mood := m.random.IntN(20)
	if m.calm {
		mood = 19
	}
	accepts := mood >= 8 || mood < 2
	if accepts {
		m.accepted = append(m.accepted, q.Header.Get("webhook-id"))
	}
	if mood < 8 {
		m.bad++
	}
	m.mu.Unlock()
	switch mood {
	case 0, 1: // accepted, and nobody learns of it
		panic(http.ErrAbortHandler)
	case 2:
		<-q.Context().Done()
	case 3:
		panic(http.ErrAbortHandler)
	case 4:
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	case 5:
		w.WriteHeader(http.StatusBadGateway)
	case 6, 7:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// node is a process that may crash.
type node struct {
	*notify.Notifier
	faults *storetest.Faults
	stop   func()
}

// Whatever fails (receivers, the store, processes at any moment, two that
// believe to be the one), each version of each incident is accepted, and the
// first time in order; the log says so of every one.
func TestRandom(t *testing.T) {
	runs, seed := 50, uint64(time.Now().UnixNano())
	if testing.Short() {
		runs = 10
	}
	if text := os.Getenv("WEIR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		runs = 1
	}
	var sent, again, bad, crashes int
	for run := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed+run, 1))
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("WEIR_SEED=%d repeats it", seed+run)
				}
			}()
			s, a, b, c := randomRun(t, random)
			sent, again, bad, crashes = sent+s, again+a, bad+b, crashes+c
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("seed %d: %d messages in %d runs, %d failures of receivers, %d ends of nodes, %d messages received again", seed, sent, runs, bad, crashes, again)
	if again == 0 || bad == 0 || crashes == 0 {
		t.Error("nothing went wrong, so this test shows nothing")
	}
}

func randomRun(t *testing.T, random *rand.Rand) (sent, again, bad, crashes int) {
	network, memory := newInternet(t), &storetest.Memory{}
	m := &moody{random: rand.New(rand.NewPCG(random.Uint64(), 2))}
	network.host("ops.example", m)

	var calm atomic.Bool
	started := 0
	log := &buffer{}
	defer func() {
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	}()
	start := func() *node {
		own := rand.New(rand.NewPCG(random.Uint64(), 3))
		var mu sync.Mutex // own is asked by several goroutines
		chance := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return own.IntN(n)
		}
		f := &storetest.Faults{
			Bucket: memory,
			OnPut: func(string) storetest.Outcome {
				if calm.Load() || chance(10) > 0 {
					return storetest.Done
				}
				return []storetest.Outcome{storetest.Lost, storetest.Unknown, storetest.Delayed, storetest.Forgotten}[chance(4)]
			},
			OnRead: func(string) error {
				if calm.Load() || chance(20) > 0 {
					return nil
				}
				return storetest.ErrInjected
			},
		}
		started++
		n, err := notify.New(notify.Options{
			Webhooks: []*weir.WebhookConfig{hook("ops", "http://ops.example")}, Bucket: f,
			Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", started),
		})
		if err != nil {
			t.Fatal(err)
		}
		n.SetDial(network.dial)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		return &node{n, f, func() { cancel(); <-done }}
	}
	nodes := []*node{start(), start()}

	// The watcher tells of one version after the other, at the node that it
	// believes to be the one, until it is told that this is durable.
	var told []string
	var open []int64 // incidents
	for n := int64(1); n <= 25; n++ {
		opened, state := n, weir.Firing
		if at := random.IntN(len(open) + 2); at < len(open) {
			if opened = open[at]; random.IntN(3) == 0 {
				state = weir.Resolved
				open = slices.Delete(open, at, at+1)
			}
		} else {
			open = append(open, n)
		}
		i := incident(opened, n, state)
		who := random.IntN(len(nodes))
		for {
			if random.IntN(12) == 0 {
				crashes++
				nodes[who].faults.Crash()
				nodes[who].stop()
				nodes[who].faults.Land()
				nodes[who] = start()
			}
			if nodes[who].Notify(context.Background(), i, []string{"ops"}) == nil {
				break
			}
			time.Sleep(time.Second)
			if random.IntN(8) == 0 {
				who = random.IntN(len(nodes))
			}
		}
		fmt.Fprintf(log, "%v: told of traffic.%d-%d at %d\n", time.Now().UTC(), opened, n, who)
		told = append(told, fmt.Sprintf("traffic.%d-%d", opened, n))
		time.Sleep(time.Duration(random.Int64N(int64(5 * time.Minute))))
	}
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	calm.Store(true)
	for _, n := range nodes {
		n.faults.Land()
	}
	var list []weir.Delivery
	done := func(d weir.Delivery) bool { return d.State == weir.Delivered }
	for hours := 0; hours < 48; hours++ {
		time.Sleep(time.Hour)
		var err error
		if list, _, err = nodes[0].Deliveries(context.Background(), weir.DeliveryFilter{Limit: 1000}); err != nil {
			t.Fatal(err)
		}
		if len(list) == len(told) && !slices.ContainsFunc(list, func(d weir.Delivery) bool { return !done(d) }) {
			break
		}
	}
	for _, n := range nodes {
		n.stop()
	}

	if len(list) != len(told) {
		t.Errorf("the log holds %d messages, want %d", len(list), len(told))
	}
	for _, d := range list {
		if !done(d) {
			t.Errorf("the log says %+v", d)
		}
	}
	first := map[string]int{}
	for at, id := range m.accepted {
		if _, known := first[id]; !known {
			first[id] = at
		}
	}
	last := map[string]int{} // by incident
	for n, id := range told {
		at, accepted := first[id]
		if !accepted {
			t.Errorf("message %s was never accepted", id)
			continue
		}
		incident := id[:len(id)-len(fmt.Sprint(n+1))-1]
		if before, known := last[incident]; known && before > at {
			t.Errorf("message %s was accepted before an older one of its incident: %v", id, m.accepted)
		}
		last[incident] = at
	}
	return len(told), len(m.accepted) - len(first), m.bad, crashes
}
