package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// internet joins notifiers and receivers inside a bubble of synctest, where time
// passes as soon as nobody has anything to do. A receiver is a host.
type internet struct {
	t *testing.T

	mu    sync.Mutex
	hosts map[string]*pipes // guarded by mu
}

func newInternet(t *testing.T) *internet { return &internet{t: t, hosts: map[string]*pipes{}} }

// receiver adds a host, and removes it when the test ends.
func (i *internet) receiver(host string, answer func(http.ResponseWriter, *http.Request, int)) *receiver {
	r := &receiver{URL: "http://" + host + "/hook", answer: answer}
	i.host(host, r)
	return r
}

// host adds one that answers by a handler.
func (i *internet) host(host string, handler http.Handler) {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(p) // ends with Close
	}()
	i.mu.Lock()
	i.hosts[host] = p
	i.mu.Unlock()
	i.t.Cleanup(func() {
		server.Close()
		<-done
	})
}

// unplug makes connections to a host fail, or not.
func (i *internet) unplug(host string, unplugged bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hosts[host].unplugged = unplugged
}

func (i *internet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	p := i.hosts[host]
	unplugged := p == nil || p.unplugged
	i.mu.Unlock()
	if unplugged {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipes is a listener of connections within the process.
type pipes struct {
	conns     chan net.Conn
	closed    chan struct{}
	once      sync.Once
	unplugged bool // guarded by the internet's mu
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// on puts a world onto the internet and runs it.
func (w *world) on(i *internet) *world {
	w.SetDial(i.dial)
	return w.run()
}

// near reports whether a time has passed, give or take its jitter of a fifth.
func near(got, want time.Duration) bool {
	return got >= want-want/5 && got <= want+want/5+time.Second
}

// A process that ends in the middle leaves behind what the next one takes up.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", func(_ http.ResponseWriter, q *http.Request, n int) {
			if n == 1 {
				<-q.Context().Done() // the first request is cut off
			}
		})
		h := hook("ops", r.URL)
		h.Timeout = time.Minute
		w := newWorld(t, nil, h).on(net)
		for v := range int64(3) {
			w.notify(incident(5, 5+v, weir.Firing), "ops")
		}
		time.Sleep(10 * time.Second)
		w.stop() // after the grace
		if list := w.deliveries(weir.DeliveryFilter{State: weir.DeliveryPending}); len(list) != 3 {
			t.Fatalf("%d messages are pending, want 3: %+v", len(list), list)
		}
		next := newWorld(t, w.bucket, h).on(net)
		time.Sleep(time.Minute)
		if ids := r.ids(); !slices.Equal(ids, []string{"traffic.5-5", "traffic.5-5", "traffic.5-6", "traffic.5-7"}) {
			t.Errorf("received %v", ids)
		}
		if n := len(next.deliveries(weir.DeliveryFilter{State: weir.Delivered})); n != 3 {
			t.Errorf("%d messages delivered, want 3", n)
		}
	})
}

// A message that is never taken is sent eight times within a day and a half, and
// then given up; the next version of the incident has waited for that.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", func(w http.ResponseWriter, q *http.Request, _ int) {
			if q.Header.Get("webhook-id") == "traffic.1-1" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		w := newWorld(t, nil, hook("ops", r.URL)).on(net)
		w.notify(incident(1, 1, weir.Firing), "ops")
		w.notify(incident(1, 2, weir.Resolved), "ops")
		time.Sleep(48 * time.Hour)
		got := r.all()
		want := []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
		}
		if len(got) != len(want)+2 {
			t.Fatalf("%d requests: %v", len(got), r.ids())
		}
		for i, d := range want {
			if gap := got[i+1].at.Sub(got[i].at); got[i+1].id() != "traffic.1-1" || !near(gap, d) {
				t.Errorf("attempt %d comes after %v, want about %v", i+2, gap, d)
			}
		}
		if !slices.Equal(got[0].body, got[7].body) {
			t.Error("the attempts differ")
		}
		if got[8].id() != "traffic.1-2" {
			t.Errorf("then came %s", got[8].id())
		}
		failed := w.deliveries(weir.DeliveryFilter{State: weir.DeliveryFailed})
		if len(failed) != 1 || len(failed[0].Attempts) != 8 || failed[0].Attempts[7].Status != 500 || !failed[0].Attempts[7].Next.IsZero() {
			t.Errorf("the log says %+v", failed)
		}
	})
}

// What the answer says of when to try again is kept, and bounded; other messages
// wait as well.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
	}{
		{"90", 90 * time.Second},
		{"Sat, 01 Jan 2000 00:03:00 GMT", 3 * time.Minute}, // bubbles begin with the year 2000
		{"999999999", time.Hour},
		{"Sat, 01 Jan 2050 00:00:00 GMT", time.Hour},
		{"-5", 5 * time.Second},
		{"soon", 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			net := newInternet(t)
			r := net.receiver("ops.example", func(w http.ResponseWriter, q *http.Request, n int) {
				if n == 1 {
					status(http.StatusServiceUnavailable, "Retry-After", test.text)(w, q, n)
				}
			})
			w := newWorld(t, nil, hook("ops", r.URL)).on(net)
			w.notify(incident(1, 1, weir.Firing), "ops")
			synctest.Wait()
			w.notify(incident(2, 2, weir.Firing), "ops")
			time.Sleep(2 * time.Hour)
			got := r.all()
			if ids := r.ids(); !slices.Equal(sorted(ids[1:]), []string{"traffic.1-1", "traffic.2-2"}) {
				t.Fatalf("Retry-After %s: %v", test.text, ids)
			}
			if gap := got[1].at.Sub(got[0].at); test.want > 5*time.Second && !near(gap, test.want) {
				t.Errorf("Retry-After %s: the next request comes after %v", test.text, gap)
			}
		})
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// 429, 502 and 504, or no answer, rest the whole endpoint; another failure only
// its incident.
func TestThrottle(t *testing.T) {
	for _, test := range []struct {
		code  int
		rests bool
	}{{429, true}, {502, true}, {504, true}, {0, true}, {500, false}, {400, false}, {302, false}} {
		synctest.Test(t, func(t *testing.T) {
			net := newInternet(t)
			r := net.receiver("ops.example", func(w http.ResponseWriter, q *http.Request, n int) {
				switch {
				case n > 1:
				case test.code == 0:
					panic(http.ErrAbortHandler)
				default:
					status(test.code, "Location", "http://other.example/")(w, q, n)
				}
			})
			other := net.receiver("other.example", nil)
			w := newWorld(t, nil, hook("ops", r.URL)).on(net)
			for n := range int64(3) {
				w.notify(incident(n, n, weir.Firing), "ops")
			}
			synctest.Wait()
			if got, want := len(r.all()), map[bool]int{true: 1, false: 3}[test.rests]; got != want {
				t.Errorf("after %d: %d requests, want %d", test.code, got, want)
			}
			time.Sleep(20 * time.Second)
			if ids := r.ids(); !slices.Equal(sorted(ids), []string{"traffic.0-0", "traffic.0-0", "traffic.1-1", "traffic.2-2"}) {
				t.Errorf("after %d: %v", test.code, ids)
			}
			if len(other.all()) > 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

// The messages of an incident go in order, whatever happens to the first; those
// of another incident do not wait for them.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		failures := 3
		r := net.receiver("ops.example", func(w http.ResponseWriter, q *http.Request, n int) {
			if q.Header.Get("webhook-id") == "traffic.1-1" && failures > 0 {
				failures--
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		w := newWorld(t, nil, hook("ops", r.URL)).on(net)
		for _, v := range []int64{1, 9, 10} { // 10 is after 9, though not as a text
			w.notify(incident(1, v, weir.Firing), "ops")
		}
		w.notify(incident(2, 2, weir.Firing), "ops")
		time.Sleep(3 * time.Hour)
		want := []string{"traffic.1-1", "traffic.2-2", "traffic.1-1", "traffic.1-1", "traffic.1-1", "traffic.1-9", "traffic.1-10"}
		if ids := r.ids(); !slices.Equal(ids, want) {
			t.Errorf("received %v, want %v", ids, want)
		}
	})
}

// When an endpoint answers again, what failed with it does not wait for its own
// schedule.
func TestRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		net.unplug("ops.example", true)
		w := newWorld(t, nil, hook("ops", r.URL)).on(net)
		for n := range int64(20) {
			w.notify(incident(n, n, weir.Firing), "ops")
		}
		time.Sleep(40 * time.Minute)
		if n := len(w.deliveries(weir.DeliveryFilter{State: weir.DeliveryPending})); n != 20 {
			t.Fatalf("%d messages are pending, want 20", n)
		}
		net.unplug("ops.example", false)
		w.notify(incident(30, 30, weir.Firing), "ops")
		time.Sleep(10 * time.Minute) // more than an endpoint rests
		if n := len(r.all()); n != 21 {
			t.Errorf("%d messages arrived, want 21", n)
		}
	})
}

// An endpoint that never answers holds back nobody: not another endpoint, and
// not those who tell.
func TestHangHoldsBackNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		slow := net.receiver("slow.example", func(_ http.ResponseWriter, q *http.Request, _ int) { <-q.Context().Done() })
		good := net.receiver("good.example", nil)
		w := newWorld(t, nil, hook("slow", slow.URL), hook("good", good.URL)).on(net)
		began := time.Now()
		for n := range int64(100) {
			w.notify(incident(n, n, weir.Firing), "slow", "good")
		}
		synctest.Wait()
		if n := len(good.all()); n != 100 || time.Since(began) > 0 {
			t.Errorf("%d of 100 messages arrived after %v", n, time.Since(began))
		}
		time.Sleep(3 * time.Second)
		list := w.deliveries(weir.DeliveryFilter{Webhook: "slow"})
		if last := list[len(list)-1]; len(last.Attempts) != 1 || !strings.Contains(last.Attempts[0].Error, "no answer within 2s") {
			t.Errorf("of the one that hangs: %+v", last)
		}
	})
}

// 410 disables an endpoint, for a new process too, until a test succeeds or the
// URL changes. What it is not sent is in the log, and can be sent again.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", status(http.StatusGone))
		w := newWorld(t, nil, hook("ops", r.URL)).on(net)
		w.notify(incident(1, 1, weir.Firing), "ops")
		w.notify(incident(2, 2, weir.Firing), "ops")
		time.Sleep(time.Hour)
		w.notify(incident(3, 3, weir.Firing), "ops")
		time.Sleep(time.Hour)
		if ids := r.ids(); !slices.Equal(ids, []string{"traffic.1-1"}) {
			t.Errorf("received %v", ids)
		}
		if log := w.log.String(); !strings.Contains(log, "410") || !strings.Contains(log, "weir webhook test ops") {
			t.Error("the log does not say what happened and what to do")
		}
		w.stop()

		next := newWorld(t, w.bucket, hook("ops", r.URL)).on(net)
		next.notify(incident(4, 4, weir.Firing), "ops")
		time.Sleep(time.Hour)
		failed := next.deliveries(weir.DeliveryFilter{State: weir.DeliveryFailed})
		if len(r.all()) != 1 || len(failed) != 4 {
			t.Errorf("received %v, failed %+v", r.ids(), failed)
		}
		if s, err := next.Status(t.Context(), "ops"); err != nil || !s.Disabled || s.Failed != 4 {
			t.Errorf("status %+v, %v", s, err)
		}

		// A test in another process that fails changes nothing; one that succeeds does.
		for _, code := range []int{http.StatusGone, http.StatusOK} {
			r.answers(status(code))
			tester := newWorld(t, w.bucket, hook("ops", r.URL))
			tester.SetDial(net.dial)
			d, err := tester.Test(t.Context(), "ops")
			if err != nil || (d.State == weir.Delivered) != (code == http.StatusOK) {
				t.Fatalf("test: %+v, %v", d, err)
			}
			s, err := tester.Status(t.Context(), "ops")
			if err != nil || s.Disabled != (code == http.StatusGone) {
				t.Fatalf("after a test that is answered %d: %+v, %v", code, s, err)
			}
		}
		time.Sleep(2 * time.Minute)
		if err := next.Redeliver(t.Context(), "traffic.4-4", "ops"); err != nil {
			t.Fatal(err)
		}
		next.notify(incident(5, 5, weir.Firing), "ops")
		time.Sleep(time.Second)
		if ids := r.ids(); !slices.Equal(ids[3:], []string{"traffic.4-4", "traffic.5-5"}) {
			t.Errorf("once it is enabled: %v", ids)
		}
		r.answers(status(http.StatusGone))
		next.notify(incident(6, 6, weir.Firing), "ops")
		time.Sleep(time.Second)
		next.stop()

		moved := net.receiver("new.example", nil)
		w = newWorld(t, w.bucket, hook("ops", moved.URL)).on(net)
		w.notify(incident(7, 7, weir.Firing), "ops")
		time.Sleep(time.Second)
		if ids := moved.ids(); !slices.Equal(ids, []string{"traffic.7-7"}) {
			t.Errorf("at the new URL: %v", ids)
		}
	})
}

// A queue that is full gives up its oldest messages, and says so.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		net.unplug("ops.example", true)
		h := hook("ops", r.URL)
		h.MaxQueue = 5
		w := newWorld(t, nil, h).on(net)
		for n := range int64(12) {
			w.notify(incident(n, n, weir.Firing), "ops")
			time.Sleep(time.Second)
		}
		failed := w.deliveries(weir.DeliveryFilter{State: weir.DeliveryFailed})
		if len(failed) != 7 || failed[0].ID != "traffic.6-6" || !strings.Contains(failed[0].Attempts[len(failed[0].Attempts)-1].Error, "more than 5") {
			t.Fatalf("given up: %+v", failed)
		}
		net.unplug("ops.example", false)
		time.Sleep(time.Hour)
		if ids := sorted(r.ids()); len(ids) != 5 || slices.Contains(ids, "traffic.6-6") {
			t.Errorf("received %v", ids)
		}
		if !strings.Contains(w.log.String(), "gives up") {
			t.Error("the log does not tell of it")
		}
	})
}

// When it is told to end, a request under way has some seconds.
func TestGrace(t *testing.T) {
	for _, test := range []struct {
		takes time.Duration
		state weir.DeliveryState
	}{{3 * time.Second, weir.Delivered}, {8 * time.Second, weir.DeliveryPending}} {
		synctest.Test(t, func(t *testing.T) {
			net := newInternet(t)
			r := net.receiver("ops.example", func(_ http.ResponseWriter, q *http.Request, _ int) {
				select {
				case <-time.After(test.takes):
				case <-q.Context().Done():
				}
			})
			h := hook("ops", r.URL)
			h.Timeout = 30 * time.Second
			w := newWorld(t, nil, h).on(net)
			w.notify(incident(1, 1, weir.Firing), "ops")
			synctest.Wait()
			began := time.Now()
			w.stop()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it ended after %v", took)
			}
			if got := w.deliveries(weir.DeliveryFilter{}); got[0].State != test.state {
				t.Errorf("a request of %v: %+v", test.takes, got[0])
			}
		})
	}
}

// A message that is asked for again while it is under way is sent once more, and
// one that is not at once.
func TestRedeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", func(_ http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				time.Sleep(time.Second)
			}
		})
		w := newWorld(t, nil, hook("ops", r.URL)).on(net)
		w.notify(incident(1, 1, weir.Firing), "ops")
		synctest.Wait()
		for _, after := range []time.Duration{time.Minute, time.Hour} {
			if err := w.Redeliver(t.Context(), "traffic.1-1", "ops"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
		}
		if ids := r.ids(); !slices.Equal(ids, []string{"traffic.1-1", "traffic.1-1", "traffic.1-1"}) {
			t.Errorf("received %v", ids)
		}
		if list := w.deliveries(weir.DeliveryFilter{State: weir.Delivered}); len(list) != 1 || len(list[0].Attempts) != 5 {
			t.Errorf("the log says %+v", list)
		}
	})
}

// Of two nodes one delivers, and the other takes up what the first leaves.
func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		bucket := &storetest.Memory{}
		one, two := newWorld(t, bucket, hook("ops", r.URL)).on(net), newWorld(t, bucket, hook("ops", r.URL)).on(net)
		synctest.Wait() // each has looked at what waits at its start
		one.notify(incident(1, 1, weir.Firing), "ops")
		time.Sleep(time.Hour)
		if ids := r.ids(); !slices.Equal(ids, []string{"traffic.1-1"}) {
			t.Errorf("received %v", ids)
		}
		// It fails at the first node, which then is no more.
		net.unplug("ops.example", true)
		one.notify(incident(2, 2, weir.Firing), "ops")
		time.Sleep(time.Second)
		one.stop()
		net.unplug("ops.example", false)
		time.Sleep(10 * time.Minute)
		if ids := r.ids(); !slices.Equal(ids, []string{"traffic.1-1", "traffic.2-2"}) {
			t.Errorf("received %v", ids)
		}
		if n := len(two.deliveries(weir.DeliveryFilter{State: weir.Delivered})); n != 2 {
			t.Errorf("%d messages delivered", n)
		}
	})
}

// The log is bounded, and nothing that it no longer knows is told again.
func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		bucket := &storetest.Memory{}
		w := newWorld(t, bucket, hook("ops", r.URL))
		w.SetKeep(10)
		w.on(net)
		old := incident(0, 0, weir.Firing)
		for n := range int64(50) {
			w.notify(incident(n, n, weir.Firing), "ops")
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		if names := bucket.Names(); len(names) != 20 {
			t.Errorf("%d objects are left, want 10 messages and their attempts: %v", len(names), names)
		}
		if list := w.deliveries(weir.DeliveryFilter{}); len(list) != 10 || list[0].ID != "traffic.49-49" || list[9].ID != "traffic.40-40" {
			t.Errorf("the log holds %d: %+v", len(list), list)
		}
		w.stop()
		time.Sleep(31 * 24 * time.Hour)
		w = newWorld(t, bucket, hook("ops", r.URL)).on(net)
		synctest.Wait()
		if names := bucket.Names(); len(names) != 0 {
			t.Errorf("after a month there are %v", names)
		}
		w.notify(old, "ops")
		time.Sleep(time.Hour)
		if n := len(r.all()); n != 50 {
			t.Errorf("%d messages were received, want 50", n)
		}
	})
}

// Pages of the log follow one another, over all webhooks.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		a, b := net.receiver("a.example", nil), net.receiver("b.example", status(http.StatusInternalServerError))
		w := newWorld(t, nil, hook("a", a.URL), hook("b", b.URL)).on(net)
		for n := range int64(7) {
			w.notify(incident(n%2, n, weir.Firing), "a", "b")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		var got []string
		f := weir.DeliveryFilter{Limit: 3}
		for pages := 0; ; pages++ {
			page, next, err := w.Deliveries(t.Context(), f)
			if err != nil || pages > 5 {
				t.Fatalf("page %d: %v", pages, err)
			}
			for _, d := range page {
				got = append(got, d.Webhook+" "+d.ID)
			}
			if f.Before = next; next == "" {
				break
			}
		}
		var want []string
		for n := 6; n >= 0; n-- {
			want = append(want, fmt.Sprintf("b traffic.%d-%d", n%2, n), fmt.Sprintf("a traffic.%d-%d", n%2, n))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if list := w.deliveries(weir.DeliveryFilter{Webhook: "a", Incident: "traffic.1", State: weir.Delivered}); len(list) != 3 {
			t.Errorf("filtered: %+v", list)
		}
		if _, _, err := w.Deliveries(t.Context(), weir.DeliveryFilter{Webhook: "c"}); !errors.Is(err, weir.ErrUnknownWebhook) {
			t.Errorf("of nobody: %v", err)
		}
	})
}

// Where the store fails, nothing is told that is not stored; what was told and
// could not be recorded is recorded later, and not told again.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		var failing atomic.Bool
		failing.Store(true)
		bucket := &storetest.Faults{Bucket: &storetest.Memory{}, OnPut: func(name string) storetest.Outcome {
			if failing.Load() && strings.Contains(name, "/attempt/") {
				return storetest.Unknown
			}
			return storetest.Done
		}}
		w := newWorld(t, bucket, hook("ops", r.URL)).on(net)
		w.notify(incident(1, 1, weir.Firing), "ops")
		time.Sleep(time.Minute)
		failing.Store(false)
		time.Sleep(time.Hour)
		got := w.deliveries(weir.DeliveryFilter{State: weir.Delivered})
		if n := len(r.all()); n != 1 || len(got) != 1 || len(got[0].Attempts) != 1 {
			t.Errorf("%d requests, and the log says %+v", n, got)
		}
	})
	// An fsync that failed ends it.
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("ops.example", nil)
		bucket := &storetest.Faults{Bucket: &storetest.Memory{}, OnPut: func(name string) storetest.Outcome {
			if strings.Contains(name, "/attempt/") {
				return storetest.Unsynced
			}
			return storetest.Done
		}}
		n, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{hook("ops", r.URL)}, Bucket: bucket})
		if err != nil {
			t.Fatal(err)
		}
		n.SetDial(net.dial)
		if err := n.Notify(t.Context(), incident(1, 1, weir.Firing), []string{"ops"}); err != nil {
			t.Fatal(err)
		}
		if err := n.Run(t.Context()); !errors.Is(err, store.ErrSync) || !strings.Contains(err.Error(), "ops") {
			t.Errorf("run ended with %v", err)
		}
	})
}

// An Alertmanager is told again each minute what fires, and for five minutes
// what is over; a new process goes on with that.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newInternet(t)
		r := net.receiver("am.example", nil)
		h := hook("am", "http://am.example/prefix/")
		h.Format = "alertmanager_api"
		w := newWorld(t, nil, h).on(net)
		synctest.Wait()
		time.Sleep(30 * time.Second)
		w.notify(incident(1, 1, weir.Firing), "am")
		w.notify(incident(2, 2, weir.Firing), "am")
		time.Sleep(10 * time.Minute)
		got := r.all()
		if len(got) < 11 || len(got) > 13 {
			t.Fatalf("%d requests in 10 minutes, want 2 and one a minute", len(got))
		}
		for n, q := range got {
			var alerts []struct {
				Labels           map[string]string
				StartsAt, EndsAt time.Time
			}
			if err := json.Unmarshal(q.body, &alerts); err != nil || q.path != "/prefix/api/v2/alerts" {
				t.Fatalf("%s to %s: %v", q.body, q.path, err)
			}
			if want := map[bool]int{true: 1, false: 2}[n < 2]; len(alerts) != want {
				t.Errorf("request %d tells of %d alerts, want %d", n, len(alerts), want)
			}
			if n > 0 && q.at.Sub(got[n-1].at) > 65*time.Second {
				t.Errorf("request %d comes %v after the one before", n, q.at.Sub(got[n-1].at))
			}
			if left := alerts[0].EndsAt.Sub(q.at); left != 5*time.Minute {
				t.Errorf("request %d says that it lasts %v", n, left)
			}
		}
		w.stop()

		before := len(r.all())
		next := newWorld(t, w.bucket, h).on(net)
		time.Sleep(3*time.Minute + 30*time.Second)
		if n := len(r.all()) - before; n != 4 {
			t.Errorf("%d requests of the new process in 3 minutes and a half, want one at once and one a minute", n)
		}
		over := incident(1, 8, weir.Resolved)
		next.notify(over, "am")
		over = incident(2, 9, weir.Resolved)
		next.notify(over, "am")
		time.Sleep(5 * time.Second)
		before = len(r.all())
		time.Sleep(20 * time.Minute)
		if n := len(r.all()) - before; n < 4 || n > 6 {
			t.Errorf("%d requests in 20 minutes tell again of what is over", n)
		}
		if n := len(next.deliveries(weir.DeliveryFilter{})); n != 4 {
			t.Errorf("the log holds %d messages, want 4: it is not of repeats", n)
		}
	})
}
