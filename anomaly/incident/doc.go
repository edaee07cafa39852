// Package incident keeps what detectors found: batches, silences, feedback.
//
// # The name is the lock
//
// What one closed window changed of a detector's incidents is a [Batch], one
// object, stored with put if absent before anybody is told of it:
//
//	flights/incident/traffic/0000000000000000000   opens traffic.0
//	flights/incident/traffic/0000000000000000001   traffic.0 is critical now
//	flights/incident/traffic/0000000000000000002   resolves traffic.0, opens traffic.2
//
// An incident is named by the batch that opened it, and its version by the batch
// that changed it last. So when two nodes that believe they own the detector
// judge the same window, they race for one name: the loser takes what is stored
// for its own, and both tell the same. A put whose outcome is unknown is settled
// by reading the name back.
//
// # Reading
//
// The newest version of an incident is what it is, so batches are folded in any
// order: the newest one first, with those that it names as open, and older ones
// as somebody pages back. New ones are found by listing what comes after the
// newest. In memory are the newest incidents of each detector, and of older ones
// where they are told.
//
// What lies in the folder and is no batch, or is damaged, is passed over, named
// in the log and counted. A number is never given twice, even then.
//
// # Expiry
//
// A batch goes once all its incidents have been over for longer than they are
// kept. The newest batch stays, so that numbers never begin anew. Only the node
// that appends deletes.
//
// # What it will not do
//
// It does not decide what an incident is, nor tell anybody.
//
// # Concurrency
//
// There are no goroutines here that outlive a call. One goroutine at a time reads or
// writes the store for a detector: it holds the token of history.gate. Lock
// order: history.gate, then history.mu, then feed.mu. Silences has locks of its
// own and calls nothing of the above.
package incident
