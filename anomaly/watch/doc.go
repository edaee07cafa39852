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
// A definition that was changed therefore touches no incident of the past: its
// detector learns the past in silence.
//
// # Who
//
// All series of a detector are judged by one node, the one that reads the
// partition which the detector's name is hashed to. When two believe it, both
// find the same, and one stores it.
//
// # Goroutines
//
// Run has one goroutine a stream, which owns the detectors of it. Others see
// what it publishes under mutexes. All have ended when Run returns.
package watch
