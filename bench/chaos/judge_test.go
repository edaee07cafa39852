package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// judge compares answers with the truth as they come. An answer waits until all
// that could be in it is known.
type judge struct {
	truth *truth
	found *findings
	wrong func(format string, args ...any)

	mu      sync.Mutex
	waiting []*answer           // guarded by mu
	shown   map[int]*shownBy    // by node; guarded by mu
	reached map[int]*completion // by node; guarded by mu
}

// shownBy is how far the answers of a process have come.
type shownBy struct {
	life    int64
	offsets map[string]int64
}

// completion is how far the complete answers of a node have come.
type completion struct {
	to    time.Time
	heard time.Time
}

// findings are what a run has to tell.
type findings struct {
	mu                     sync.Mutex
	events                 int64 // of rounds that are over
	answers, partial       int   // answers, and those of them that were for a shorter range
	complete               int   // of those that have events
	less                   int   // answers that reached less far than one before, and said so
	slowestAnswer, slowest time.Duration
	slowestEvent           time.Duration
	ended                  int // processes that could not start while the store failed
	absent                 int // questions to processes that were not there
	refused                map[string]int
	segments, races        int
	struck, reading        int // faults of nodes, and those of them that struck one that read something
}

// maxWaiting bounds the answers that wait; there are ten a second.
const maxWaiting = 10_000

func newJudge(t *truth, f *findings, wrong func(format string, args ...any)) *judge {
	return &judge{truth: t, found: f, wrong: wrong, shown: make(map[int]*shownBy), reached: make(map[int]*completion)}
}

// hear takes an answer. Those of a node come in the order in which they were
// asked for, one after the other.
func (j *judge) hear(a *answer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.compareWithEarlier(a)
	if a.Complete {
		r := j.reached[a.node]
		if r == nil {
			r = new(completion)
			j.reached[a.node] = r
		}
		r.to, r.heard = a.To, time.Now()
	}
	if j.waiting = append(j.waiting, a); len(j.waiting) > maxWaiting {
		j.wrong("%d answers cannot be judged: nothing is known of what they speak of", len(j.waiting))
		j.waiting = nil
	}
	j.decide()
}

// compareWithEarlier finds answers that fall and do not say so: what reaches
// less far than an answer of the same process before is not complete, and says
// of which partition.
func (j *judge) compareWithEarlier(a *answer) {
	s := j.shown[a.node]
	if s == nil || s.life != a.life {
		s = &shownBy{life: a.life, offsets: make(map[string]int64)}
		j.shown[a.node] = s
	}
	fell := false
	for _, p := range slices.Sorted(maps.Keys(s.offsets)) {
		if a.Offsets[p] >= s.offsets[p] {
			continue
		}
		fell = true
		named := slices.ContainsFunc(a.Notes, func(note string) bool { return strings.Contains(note, "partition "+p+" was answered for up to offset") })
		if a.Complete || !named {
			j.wrong("an answer of %v, where one before had reached offset %d of partition %s, and does not say so", a, s.offsets[p], p)
		}
	}
	for p, offset := range a.Offsets {
		s.offsets[p] = max(s.offsets[p], offset)
	}
	if fell {
		j.found.mu.Lock()
		j.found.less++
		j.found.mu.Unlock()
	}
}

// decide judges the answers of which all is known.
func (j *judge) decide() {
	j.waiting = slices.DeleteFunc(j.waiting, j.decided)
}

func (j *judge) decided(a *answer) bool {
	got, err := a.totals()
	if err != nil {
		j.wrong("an answer of %v: %v", a, err)
		return true
	}
	want, known, err := j.truth.at(a.Offsets, a.To)
	all, allKnown := want, true
	if a.Complete {
		all, allKnown = j.truth.before(a.To, a.Offsets)
	}
	switch {
	case err == nil && (!known || !allKnown):
		return false
	case err != nil:
		j.wrong("an answer of %v: %v", a, err)
	case got != want:
		j.wrong("an answer of %v: below its offsets lie %v", a, want)
	case got != all:
		j.wrong("an answer of %v, is complete, and %v had happened", a, all)
	case len(a.Rejected) > 0:
		j.wrong("an answer of %v rejects %v", a, a.Rejected)
	}
	f := j.found
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers++
	if a.To.Year() < 2100 {
		f.partial++
	}
	if a.Complete && got != (perKey{}) {
		f.complete++
	}
	return true
}

// took notes how a question went, other than by what was answered.
func (j *judge) took(n *node, struck int64, asked time.Time, err error) {
	spent := time.Since(asked)
	undisturbed := n.struck.Load() == struck && !n.down.Load()
	f := j.found
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused == nil {
		f.refused = make(map[string]int)
	}
	var r *refusal
	switch {
	case err == nil:
		if undisturbed {
			f.slowestAnswer = max(f.slowestAnswer, spent)
		}
	case errors.As(err, &r):
		f.refused[brief(r.body)]++
		if !n.w.storeTroubled(asked) {
			j.wrong("node %d refuses an answer while the store is well: %v", n.name, r)
		}
	case errors.Is(err, context.DeadlineExceeded) && undisturbed:
		j.wrong("node %d has not answered within %v, and nothing was done to it", n.name, answerLimit)
	case !errors.Is(err, context.Canceled):
		f.absent++
	}
}

// brief makes kinds of messages.
func brief(body string) string {
	const most = 160
	words := strings.Fields(body)
	for i, word := range words {
		if strings.ContainsAny(word, "0123456789") {
			words[i] = "…"
		}
	}
	s := strings.Join(words, " ")
	return s[:min(len(s), most)]
}

// completeSince reports whether a node has given an answer since a time that is
// complete up to as close to that time as it can be.
func (j *judge) completeSince(node int, since time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.reached[node]
	return r != nil && r.heard.After(since) && r.to.After(since.Add(-j.truth.lateness-disorder-window))
}

// finish judges what is left, now that nothing is under way.
func (j *judge) finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decide()
	for _, a := range j.waiting {
		j.wrong("an answer of %v, speaks of events that were not produced", a)
	}
	j.waiting = nil
}

func (f *findings) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var refused int
	kinds := ""
	for _, kind := range slices.Sorted(maps.Keys(f.refused)) {
		refused += f.refused[kind]
		kinds += fmt.Sprintf("\n    %6d × %s", f.refused[kind], kind)
	}
	return fmt.Sprintf(`  %d times a node was struck, %d of them while it read partitions
  %d events, the slowest in the log %v after its time
  %d answers in the midst of it (%d of them up to the watermark), each what lies below its offsets
  %d of them complete, with all that had happened before their end
  %d answers that reach less far than one before, each of which says so
  slowest answer of a node that nothing was done to: %v
  slowest return to complete answers from all nodes after a burst: %v
  %d segments, all on their chains; %d times another owner was first with one
  %d questions to processes that were not there, %d processes that ended at their start because the store failed
  %d questions refused while the store failed%s`,
		f.struck, f.reading, f.events, f.slowestEvent.Round(time.Millisecond), f.answers, f.partial, f.complete, f.less,
		f.slowestAnswer.Round(time.Millisecond), f.slowest.Round(100*time.Millisecond), f.segments, f.races, f.absent, f.ended, refused, kinds)
}
