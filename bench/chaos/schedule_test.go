package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// kind is what a fault strikes, and how.
type kind int

const (
	kill    kind = iota // SIGKILL of a node, and a new process after a while
	restart             // SIGTERM, and a new process once it has ended in order
	zombie              // SIGSTOP for longer than the group waits, then SIGCONT
	storage             // the object store fails in one way for a while
	broker              // the broker is stopped or killed, and started again
	kinds
)

func (k kind) String() string {
	return [...]string{"kill", "restart", "zombie", "storage", "broker"}[k]
}

// trouble is how the object store fails.
type trouble int

const (
	failing   trouble = iota // some requests are answered 500 or 503, and not done
	outage                   // all are answered 503
	slow                     // all take up to two seconds
	cutBefore                // of some the connection is cut, and they are not done
	cutMiddle                // some are done, and half of the answer arrives
	cutAfter                 // some are done, and the answer never arrives
	ghost                    // of some the connection is cut; they are done seconds later
	mixed                    // any of these
	troubles
)

func (t trouble) String() string {
	return [...]string{"500 and 503", "503 to all", "slow", "cut before", "cut in the middle", "cut after", "done later", "mixed"}[t]
}

// fault is one entry of the schedule.
type fault struct {
	kind    kind
	trouble trouble       // of storage
	crash   bool          // of a broker: it is killed
	node    int           // of kill, restart and zombie
	after   time.Duration // the fault before
	hold    time.Duration // how long it lasts
}

func (f fault) String() string {
	what := f.kind.String()
	switch {
	case f.kind == storage:
		what += " " + f.trouble.String()
	case f.kind != broker:
		what += fmt.Sprintf(" of node %d", f.node)
	case f.crash:
		what += " killed"
	default:
		what += " stopped"
	}
	return fmt.Sprintf("%s for %v", what, f.hold.Round(time.Millisecond))
}

const (
	perBurst = 20  // faults on end; then the cluster must come to itself
	perRound = 100 // faults with one topic and one bucket
)

// schedule draws the faults: of a seed always the same. A node that is down is
// not struck again, as far as can be told beforehand, so that faults overlap and
// do not wait for one another.
func schedule(seed uint64, n int, withBroker bool) []fault {
	rng := rand.New(rand.NewPCG(seed, 1))
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rng.Int64N(int64(high-low))) }
	var clock, brokerBusy time.Duration
	var busy [nodes]time.Duration // until
	plan := make([]fault, 0, n)
	for i := range n {
		f := fault{after: between(0, time.Second), crash: rng.IntN(2) == 0, trouble: trouble(rng.IntN(int(troubles)))}
		if clock += f.after; i%perBurst == 0 {
			clock += time.Hour
		}
		var free []int
		for i, until := range busy {
			if until <= clock {
				free = append(free, i)
			}
		}
		switch d := rng.IntN(100); {
		case d < 34:
			f.kind, f.hold = kill, between(0, 1500*time.Millisecond)
		case d < 50:
			f.kind, f.hold = restart, between(0, 500*time.Millisecond)
		case d < 64:
			f.kind, f.hold = zombie, paceOf(withBroker).session+between(time.Second, 4*time.Second)
		case d < 70 && withBroker && brokerBusy <= clock:
			f.kind, f.hold = broker, between(0, time.Second)
			brokerBusy = clock + f.hold + 20*time.Second
		default:
			f.kind = storage
		}
		if f.kind <= zombie && len(free) > 0 {
			f.node = free[rng.IntN(len(free))]
			busy[f.node] = clock + f.hold + time.Second
		} else if f.kind <= zombie {
			f.kind = storage
		}
		if f.kind == storage {
			f.hold = between(200*time.Millisecond, 2500*time.Millisecond)
		}
		f.crash = f.crash && f.kind == broker
		plan = append(plan, f)
	}
	return plan
}

// describe counts the faults by what they are.
func describe(plan []fault) string {
	var of [kinds]int
	var ways [troubles]int
	for _, f := range plan {
		of[f.kind]++
		if f.kind == storage {
			ways[f.trouble]++
		}
	}
	list := make([]string, 0, troubles)
	for t, n := range ways {
		list = append(list, fmt.Sprintf("%d %v", n, trouble(t)))
	}
	return fmt.Sprintf("%d kills, %d restarts, %d zombies, %d of the broker, %d of storage (%s)",
		of[kill], of[restart], of[zombie], of[broker], of[storage], strings.Join(list, ", "))
}

// The faults follow from the seed, of which another gives others, and a longer
// run begins like a shorter one.
func TestSchedule(t *testing.T) {
	plan := schedule(7, 400, true)
	if got := schedule(7, 400, true); fmt.Sprint(got) != fmt.Sprint(plan) {
		t.Errorf("seed 7 gives %v, and then %v", plan, got)
	}
	if got := schedule(7, 100, true); fmt.Sprint(got) != fmt.Sprint(plan[:100]) {
		t.Errorf("seed 7 gives %v, and as the beginning of more %v", got, plan[:100])
	}
	if fmt.Sprint(schedule(8, 400, true)) == fmt.Sprint(plan) {
		t.Error("seeds 7 and 8 give the same faults")
	}
	var of [kinds]int
	var ways [troubles]int
	for _, f := range plan {
		of[f.kind]++
		ways[f.trouble]++
		if f.kind == zombie && f.hold <= paceOf(true).session {
			t.Errorf("%v, which the group does not notice: its session is %v", f, paceOf(true).session)
		}
	}
	for k, n := range of {
		if n < 10 {
			t.Errorf("%d of 400 faults are %v", n, kind(k))
		}
	}
	for w, n := range ways {
		if n < 10 {
			t.Errorf("%d of 400 faults are %v", n, trouble(w))
		}
	}
	for _, f := range schedule(7, 400, false) {
		if f.kind == broker {
			t.Errorf("%v, though it cannot be restarted", f)
		}
	}
}
