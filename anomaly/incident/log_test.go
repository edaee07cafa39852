package incident

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var traffic = Ref{"flights", "traffic"}

var midnight = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is moved by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// newLog returns a log that looks into the store whenever it is asked, an hour
// after the first of all windows.
func newLog(bucket store.Bucket, refs ...Ref) *Log {
	return NewLog(bucket, refs, Options{MaxAge: -1, Now: (&clock{midnight.Add(time.Hour)}).now})
}

// window makes the batch of the n-th window: states of incidents, each named by
// the number of the batch that opened it.
func window(ref Ref, n int64, states map[int64]weir.IncidentState) *Batch {
	b := &Batch{
		N: n, Stream: ref.Stream, Detector: ref.Detector, Definition: "d",
		From: midnight.Add(time.Duration(n) * time.Minute), To: midnight.Add(time.Duration(n+1) * time.Minute),
		Recorded: midnight.Add(time.Duration(n+1) * time.Minute),
	}
	for opened := range n + 1 {
		state, ok := states[opened]
		if !ok {
			continue
		}
		r := Record{Incident: weir.Incident{
			ID: weir.IncidentID(ref.Detector, opened), Detector: ref.Detector, Stream: ref.Stream, Value: "count",
			State: state, Version: n, Severity: weir.Warning, Since: midnight,
			Opened: midnight.Add(time.Duration(opened+1) * time.Minute), Updated: b.To, Recorded: b.Recorded,
			Series:  []weir.IncidentSeries{{By: map[string]string{"origin": fmt.Sprintf("O%d", opened)}, State: state}},
			Members: 1,
		}}
		r.All = r.Series
		if state == weir.Resolved {
			r.Resolved = b.To
		}
		b.Records = append(b.Records, r)
	}
	return b
}

type states = map[int64]weir.IncidentState

func mustAppend(t *testing.T, l *Log, b *Batch) *Batch {
	t.Helper()
	stored, mine, err := l.Append(context.Background(), b)
	if err != nil || !mine {
		t.Fatalf("append %d: mine %v, %v", b.N, mine, err)
	}
	return stored
}

func TestAppendOpenList(t *testing.T) {
	ctx := context.Background()
	bucket := new(storetest.Memory)
	l := newLog(bucket, traffic)
	if next, open, last, err := l.Open(ctx, traffic); next != 0 || open != nil || last != nil || err != nil {
		t.Fatalf("open of nothing: %d, %v, %v, %v", next, open, last, err)
	}
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	mustAppend(t, l, window(traffic, 1, states{1: weir.Firing}))
	mustAppend(t, l, window(traffic, 2, states{0: weir.Resolved, 2: weir.Firing}))

	for name, l := range map[string]*Log{"the same": l, "another": newLog(bucket, traffic)} {
		next, open, last, err := l.Open(ctx, traffic)
		if err != nil || next != 3 || last == nil || last.N != 2 {
			t.Fatalf("%s: open: %d, %v, %v", name, next, last, err)
		}
		if len(open) != 2 || open[0].ID != "traffic.1" || open[1].ID != "traffic.2" || len(open[0].All) != 1 {
			t.Errorf("%s: open are %+v", name, open)
		}
		list, page, err := l.List(ctx, Filter{})
		if err != nil || page != "" || len(list) != 3 || list[2].ID != "traffic.0" || list[2].State != weir.Resolved {
			t.Errorf("%s: list: %+v, %q, %v", name, list, page, err)
		}
		versions, batches, err := l.Incident(ctx, "traffic.0")
		if err != nil || len(versions) != 2 || versions[1].State != weir.Resolved || batches[1].N != 2 {
			t.Errorf("%s: incident: %+v, %v", name, versions, err)
		}
	}
}
