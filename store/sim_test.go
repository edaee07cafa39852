package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// TestChainsUnderFaults simulates processes that share one partition, among them
// ones that sleep, crash, lose puts and see them land late, beside compactors and
// a deleter without any grace. One process' operation is interrupted by steps of
// the others at every access to the bucket. Readers check all along that every
// event is counted once or lies in a gap, and that nothing acknowledged is lost.
//
// A failing world prints its seed; WEIR_SEED=… runs the same ones again.
func TestChainsUnderFaults(t *testing.T) {
	rng := seeded(t)
	worlds, steps := 40, 200
	if testing.Short() {
		worlds = 10
	}
	var total tally
	for i := range worlds {
		w := newWorld(t, rand.New(rand.NewPCG(rng.Uint64(), uint64(i))))
		for range steps {
			w.step()
		}
		w.check(w.newReader())
		total.add(w.tally)
	}
	t.Logf("%+v", total)
	for what, n := range map[string]int{
		"segments": total.kept, "lost races": total.dropped, "void puts": total.void, "gaps": total.gaps, "crashes": total.crashes,
		"late puts": total.late, "manifests": total.manifests, "lost manifests": total.beaten, "deletions": total.deletions, "checks": total.checks,
	} {
		if n < worlds/10 {
			t.Errorf("only %d %s in %d worlds: this tests too little", n, what, worlds)
		}
	}
}

// tally counts what happened, so that a simulation cannot quietly stop testing.
type tally struct {
	kept, dropped, void, gaps, crashes, late, manifests, beaten, deletions, checks int
}

func (a *tally) add(b tally) {
	a.kept, a.dropped, a.void, a.gaps = a.kept+b.kept, a.dropped+b.dropped, a.void+b.void, a.gaps+b.gaps
	a.crashes, a.late, a.manifests, a.beaten = a.crashes+b.crashes, a.late+b.late, a.manifests+b.manifests, a.beaten+b.beaten
	a.deletions, a.checks = a.deletions+b.deletions, a.checks+b.checks
}

type world struct {
	*testing.T
	tally
	rng    *rand.Rand
	bucket *storetest.Memory

	logs  []simLog // the last one is current
	acked int64    // every offset of the chain before it is settled, whoever says so

	actors  []*actor
	readers []*node // those not in the middle of a check
	depth   int     // of operations that interrupt each other
}

// simLog is a log: events [start, end) can be read, those before are dropped.
type simLog struct {
	name       string
	start, end int64
}

// actor is an owner or a compactor: a process with a view of its own.
type actor struct {
	*node
	busy  bool // in an operation that others now interrupt
	owns  bool
	draft *store.Draft // built, and perhaps put much later
	late  []*storetest.Faults
}

func newWorld(t *testing.T, rng *rand.Rand) *world {
	w := &world{T: t, rng: rng, bucket: new(storetest.Memory)}
	w.logs = []simLog{{name: "log-0", start: rng.Int64N(2) * 3, end: 10}}
	for range 5 {
		a := new(actor)
		w.restart(a)
		w.actors = append(w.actors, a)
	}
	for range 2 {
		w.readers = append(w.readers, w.newReader())
	}
	return w
}

func (w *world) newReader() *node {
	n := newNode(w.bucket, "p", "reader")
	n.OnRead = func(string) error { w.interrupt(); return nil }
	return n
}

// restart gives an actor a new process. What the old one has under way may
// still land.
func (w *world) restart(a *actor) {
	if a.node != nil {
		a.Crash()
		a.late = append(a.late, a.Faults)
		w.crashes++
	}
	a.node = newNode(w.bucket, "p", fmt.Sprint("process ", w.crashes))
	a.owns, a.draft = false, nil
	faults := a.Faults
	faults.OnRead = func(name string) error {
		w.interrupt()
		if w.rng.IntN(40) == 0 {
			return fmt.Errorf("read %s: %w", name, storetest.ErrInjected)
		}
		return nil
	}
	faults.OnPut = func(string) storetest.Outcome {
		w.interrupt()
		if w.rng.IntN(4) > 0 {
			return storetest.Done
		}
		return []storetest.Outcome{storetest.Lost, storetest.Unknown, storetest.Delayed, storetest.Delayed, storetest.Forgotten}[w.rng.IntN(5)]
	}
}

// interrupt lets others act in the middle of an operation.
func (w *world) interrupt() {
	for w.depth < 4 && w.rng.IntN(8) == 0 {
		w.step()
	}
}

func (w *world) step() {
	w.depth++
	defer func() { w.depth-- }()
	a := w.actors[w.rng.IntN(len(w.actors))]
	switch k := w.rng.IntN(24); {
	case k < 4:
		w.logs[len(w.logs)-1].end += w.rng.Int64N(8)
	case k == 4 && w.rng.IntN(3) == 0: // retention
		l := &w.logs[len(w.logs)-1]
		l.start += w.rng.Int64N(l.end - l.start + 1)
	case k == 5 && w.rng.IntN(6) == 0: // made anew, shorter or longer
		start := w.rng.Int64N(20)
		w.logs = append(w.logs, simLog{fmt.Sprint("log-", len(w.logs)), start, start + w.rng.Int64N(20)})
	case k == 6 && !a.busy:
		if w.rng.IntN(3) == 0 {
			w.restart(a)
		}
	case k == 7:
		for _, f := range append(a.late, a.Faults) {
			w.late += f.Land()
		}
	case k == 8:
		w.delete()
	case k < 11:
		w.do(a, w.compact)
	case k < 13 && len(w.readers) > 0:
		n := w.readers[0]
		w.readers = w.readers[1:]
		w.check(n)
		w.readers = append(w.readers, n)
	default:
		w.do(a, w.own)
	}
}

func (w *world) do(a *actor, operation func(context.Context, *actor)) {
	if a.busy {
		return
	}
	a.busy = true
	defer func() { a.busy = false }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	put := a.OnPut
	a.OnPut = func(name string) storetest.Outcome {
		outcome := put(name)
		if outcome != storetest.Done && w.rng.IntN(4) == 0 {
			cancel() // it gives up
		}
		return outcome
	}
	operation(ctx, a)
	a.OnPut = put
}

// own is a step of an owner: take over, read, append, any of which it may have
// begun long ago.
func (w *world) own(ctx context.Context, a *actor) {
	if !a.owns || w.rng.IntN(30) == 0 {
		_, err := a.writer.Takeover(ctx)
		w.mustBeInjected("take over", err)
		a.owns, a.draft = err == nil, nil
		return
	}
	if a.draft == nil || w.rng.IntN(3) == 0 {
		a.draft = w.read(a.writer.Position())
		if w.rng.IntN(3) == 0 {
			return // and sleeps on it
		}
	}
	if a.draft == nil {
		return
	}
	before, draft := a.writer.Position(), a.draft
	at, kept, err := a.writer.Append(ctx, *draft)
	switch {
	case errors.Is(err, store.ErrUnsettled):
		if w.rng.IntN(2) == 0 {
			a.draft = w.read(before) // again, perhaps with more
		}
		return
	case errors.Is(err, store.ErrLeftLog):
		w.Fatalf("only new logs are made: %v", err)
	case err != nil:
		w.mustBeInjected("append", err)
		a.owns = false
		return
	}
	a.draft = nil
	w.acked = max(w.acked, at.Next)
	switch {
	case kept && draft.Meta.Gap != nil:
		w.gaps++
	case kept:
		w.kept++
	case at.Next < draft.Meta.To && at.Next < w.acked || at.Next > draft.Meta.To:
		w.void++ // or far behind
	}
	if !kept {
		w.dropped++
	}
}

// read is what an owner at a position finds in the current log: a gap if events
// are missing there, else events if there are any.
func (w *world) read(at store.Position) *store.Draft {
	l := w.logs[len(w.logs)-1]
	var d store.Draft
	offset := at.Next - at.Shift
	switch {
	case at.Log == "" && l.start > 0:
		d = gapTo(at, l.name, 0, l.start, store.GapStart)
	case at.Log != "" && at.Log != l.name:
		d = gapTo(at, l.name, at.Next+1-l.start, at.Next+1, store.GapNewLog)
	case offset < l.start:
		d = gapTo(at, l.name, at.Shift, l.start+at.Shift, store.GapRetention)
	case offset == l.end:
		return nil
	default:
		d = draftOf(at, l.name, at.Next+1+w.rng.Int64N(l.end-offset))
	}
	return &d
}

// compact merges what a random number of segments hold into a block, together
// with the last block, and puts the manifest that says so.
func (w *world) compact(ctx context.Context, a *actor) {
	snapshot, events, err := w.events(ctx, a.node)
	if err != nil {
		w.mustBeInjected("read to compact", err)
		return
	}
	chain := snapshot.Chain("p")
	if chain == nil || chain.End == chain.Frontier {
		return
	}
	// Positions of the walk are where its segments and gaps end.
	var ends []store.Position
	for _, s := range chain.Segments {
		ends = append(ends, store.Position{Next: s.Meta.To, Log: s.Meta.Log, Shift: s.Meta.Shift, Tail: s.Meta.Tail, Watermark: s.Meta.Watermark})
	}
	ends = append(ends, store.Position{Next: chain.End, Log: chain.Log, Shift: chain.Shift, Tail: chain.Tail, Watermark: chain.Watermark})
	at := ends[w.rng.IntN(len(ends))]
	merged := slices.DeleteFunc(events, func(e counting) bool { return e.at >= at.Next })
	for i := range merged {
		merged[i].at = -1
	}
	n := int64(1)
	gaps := slices.DeleteFunc(slices.Clone(chain.Gaps), func(g store.Gap) bool { return g.From >= at.Next })
	if snapshot.Manifest != nil {
		n, gaps = snapshot.Manifest.N+1, append(slices.Clone(snapshot.Manifest.Gaps), gaps...)
	}
	id := fmt.Sprint(w.rng.Uint64())
	block := fmt.Sprintf("s/block/%019d-%s-0", n, id)
	m := store.Manifest{
		Format: 1, ID: id, N: n, Blocks: []store.Block{{Name: block, Width: 1, Events: int64(len(merged))}}, Gaps: gaps, Events: int64(len(merged)),
		Partitions: map[string]store.ManifestPartition{"p": {
			Frontier: at.Next, Log: at.Log, Shift: at.Shift, Tail: at.Tail, Watermark: at.Watermark, Left: chain.Left,
		}},
	}
	var names []event
	for _, e := range merged {
		names = append(names, e.event)
	}
	if err := a.Bucket.Put(ctx, block, encodeEvents(names)); err != nil {
		w.Fatal(err)
	}
	text, err := store.EncodeManifest(&m)
	if err != nil {
		w.Fatal(err)
	}
	err = a.Put(ctx, fmt.Sprintf("s/manifest/%019d", n), text)
	switch {
	case err == nil:
		w.manifests++
	case errors.Is(err, store.ErrExists):
		w.beaten++
	default: // unknown: it walks away
		w.mustBeInjected("put manifest", err)
	}
}

// delete removes what the newest manifest made superfluous, at once and in part.
func (w *world) delete() {
	ctx := context.Background()
	var newest *store.Manifest
	names := w.bucket.Names()
	for _, name := range names {
		if strings.HasPrefix(name, "s/manifest/") {
			text, err := w.bucket.Read(ctx, name)
			if err != nil {
				w.Fatal(err)
			}
			if newest, err = store.DecodeManifest(text); err != nil {
				w.Fatal(err)
			}
		}
	}
	if newest == nil {
		return
	}
	for _, name := range names {
		if w.rng.IntN(3) == 0 {
			continue
		}
		_, _, from, err := store.ParseSegmentName(name)
		var n int64
		superfluous := err == nil && from < newest.Partitions["p"].Frontier
		switch {
		case strings.HasPrefix(name, "s/manifest/"):
			fmt.Sscanf(name, "s/manifest/%d", &n)
			superfluous = n < newest.N
		case strings.HasPrefix(name, "s/block/"):
			fmt.Sscanf(name, "s/block/%d-", &n)
			superfluous = n <= newest.N && name != newest.Blocks[0].Name
		}
		if superfluous {
			if err := w.bucket.Delete(ctx, name); err != nil {
				w.Fatal(err)
			}
			w.deletions++
		}
	}
}

// counting is an event, and where in the chain it is counted: -1 in a block.
type counting struct {
	event
	at int64
}

// events reads what a node's view of the stream counts.
func (w *world) events(ctx context.Context, n *node) (*store.Snapshot, []counting, error) {
	for range 100 {
		snapshot, err := n.catalog.Refresh(ctx)
		if err != nil {
			return nil, nil, err
		}
		var events []counting
		if snapshot.Manifest != nil {
			text, err := n.Read(ctx, snapshot.Manifest.Blocks[0].Name)
			if errors.Is(err, store.ErrNotFound) {
				continue // a newer manifest has made it superfluous
			} else if err != nil {
				return nil, nil, err
			}
			for _, e := range decodeEvents(w, text) {
				events = append(events, counting{e, -1})
			}
		}
		fresh, err := eventsOf(ctx, n.catalog, snapshot)
		if isStale(err) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		i := 0
		for c := range snapshot.Chains {
			for _, s := range snapshot.Chains[c].Segments {
				for o := s.Meta.From; o < s.Meta.To; o++ {
					events = append(events, counting{fresh[i], o})
					i++
				}
			}
		}
		return snapshot, events, nil
	}
	return nil, nil, fmt.Errorf("stale 100 times: %w", store.ErrStale)
}

// check reads everything and compares it with what happened.
func (w *world) check(n *node) {
	w.Helper()
	w.checks++
	acked := w.acked
	snapshot, events, err := w.events(context.Background(), n)
	if err != nil {
		w.Fatal(err)
	}
	chain := snapshot.Chain("p")
	if chain == nil {
		chain = new(store.Chain)
	}
	if chain.End < acked || chain.Broken != nil {
		w.Fatalf("the chain ends at %d, %d was acknowledged", chain.End, acked)
	}
	if len(snapshot.Quarantined) > 0 {
		w.Fatalf("quarantined: %+v", snapshot.Quarantined)
	}
	skipped := int64(0)
	for _, g := range snapshot.Gaps() {
		if g.Reason == store.GapMissing || g.Reason == store.GapDamaged {
			w.Fatalf("%+v", g)
		}
		skipped += g.To - g.From
	}
	if int64(len(events))+skipped != chain.End {
		w.Fatalf("%d events and %d skipped offsets in a chain of %d", len(events), skipped, chain.End)
	}
	counted := make(map[event]bool)
	last := make(map[string]int64)
	for _, e := range events {
		if counted[e.event] {
			w.Fatalf("%+v is counted twice", e)
		}
		counted[e.event] = true
		last[e.log] = max(last[e.log], e.offset+1)
	}
	for _, l := range w.logs {
		if last[l.name] > l.end {
			w.Fatalf("%s has %d events, counted up to %d", l.name, l.end, last[l.name])
		}
		for o := l.start; o < last[l.name]; o++ { // before start, retention may have been faster
			if !counted[event{l.name, o}] {
				w.Fatalf("event %d of %s is lost, though later ones are counted", o, l.name)
			}
		}
	}
}

func (w *world) mustBeInjected(what string, err error) {
	w.Helper()
	if err != nil && !errors.Is(err, storetest.ErrInjected) && !errors.Is(err, context.Canceled) {
		w.Fatalf("%s: %v", what, err)
	}
}

func encodeEvents(events []event) []byte {
	var lines [][2]any
	for _, e := range events {
		lines = append(lines, [2]any{e.log, e.offset})
	}
	text, err := json.Marshal(lines)
	if err != nil {
		panic(err)
	}
	return text
}

func decodeEvents(w *world, text []byte) (events []event) {
	var lines [][2]any
	if err := json.Unmarshal(text, &lines); err != nil {
		w.Fatal(err)
	}
	for _, l := range lines {
		events = append(events, event{l[0].(string), int64(l[1].(float64))})
	}
	return events
}
