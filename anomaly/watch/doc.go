// Package watch turns closed windows into incidents.
//
// # The problem
//
// A detector is arithmetic: it judges one number after the other. Where the
// numbers come from, when one is final, what several strange ones have to do
// with each other, and how nobody is told twice though processes die at any
// moment, is decided here.
//
// # The way of a window
//
//	watermark ─→ closed? ─→ cut ─→ values ─→ score, learn ─→ changes ─→ batch ─→ told
//	             [closing]  [cut]  [values]  [series]        [machine]  stored   [Teller]
//
// A window is closed when every partition's watermark has passed its end. What
// counts for it is what each chain held when the watermark passed: everything
// up to the first segment that says so. Events that come later are in answers,
// and not in what was judged, so judging the window again, after a crash, on
// another node or to explain an incident, gives the same numbers. Only a
// partition that was idle when the window closed has no such segment; of it
// counts all that it had, and where an incident was found the offsets are kept
// with it.
//
// # What is learned
//
// A series is scored first, then learned. Under a seasonal detector, anomalous
// windows are withheld from it: for half of the first period on end, or 60
// windows where there is no period. What lasts longer is learned, as the new
// normal, until a window is normal again. The other detectors learn everything. A
// series without events for a week, or for twice the longest period, is
// forgotten, and is well again in the incident that it was in. One that is new
// while max_series are watched is left out and counted.
//
// # Never twice
//
// What a window changed in the incidents of a detector is one batch, stored
// under a name that has the batch's number, before anyone is told. A process
// that dies in between finds it and tells again, with the same ID. The state of
// detectors is a cache: it is saved now and then, and else is built from the
// stored windows. While windows are judged again that were judged before, the
// stored batches say what came of them.
//
//	windows    ├──────────── silent ────────────┤── live ──→
//	           oldest, or saved state           end of the last batch
//
// A definition that was changed therefore opens no incident in the past: its
// detector learns the past in silence. It goes on with the incidents that are
// open, and ends them by its own judgement.
//
// What there is to catch up with is judged in turns, so that a detector which
// begins with years of windows holds up no other of its stream for long.
//
// # Who
//
// All series of a detector are judged by one node, the one that reads the
// partition which the detector's name is hashed to. When two believe it, both
// find the same, and one stores it. When the partition moves, the new owner goes
// on from the last saved state and the batches stored since; the old one forgets
// what it had. A partition that nobody reads any more holds up the watermark, and
// with it all detectors of the stream.
//
// # Goroutines
//
// Run has one goroutine a stream, which owns the detectors of it. Others see
// only the counts, under their mutex. All have ended when Run returns, and the
// states of detectors are saved.
package watch
