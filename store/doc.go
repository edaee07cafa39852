// Package store keeps cells: segments in a bucket, found again by their names.
//
// # The name is the lock
//
// A segment holds the cells of the offsets [from, to) of one partition and is
// stored under a name made of the partition and from alone, with put if
// absent. So the segments of a partition form a chain:
//
//	flights/segment/3/0000000000000000000   [0, 512)
//	flights/segment/3/0000000000000000512   [512, 900)     the next begins where
//	flights/segment/3/0000000000000000900   [900, …)       the last one ended
//
// Whoever owns the partition reads the log on from the chain's end. Two that
// believe they own it race for one name; either segment is right, and the
// loser throws its cells away. Nothing else coordinates writers.
//
// # Who is who
//
//   - [Bucket] is the storage: put if absent, read, list, delete. [Directory] is
//     the one on a local disk; it knows what fsync promises and what not.
//   - [Segment] is one file of cells, in Parquet, with checksums over every byte.
//   - [Catalog] finds the segments of a stream: the newest manifest (what
//     compaction made of them), and each partition's chain from where the
//     manifest stops. [Snapshot] is one consistent view of them.
//   - [Writer] appends to the chain of one partition and settles every put whose
//     outcome is unknown by reading back what is stored.
//
// # What is promised
//
// Every event of a log is counted by exactly one segment of its chain, or lies
// in a gap that says why not. A segment's bytes are believed only after their
// checksums agree; what is damaged is left out, and shown as a gap. A listing is
// a hint: only what the walk of a chain reaches counts.
//
// Not promised: that a directory shared over a network file system keeps link(2)
// atomic and fsync honest. [Probe] finds the crudest liars only.
//
// # Concurrency
//
// Nothing here starts a goroutine that outlives the call. A Catalog and its
// Segments serve any number of goroutines; a Writer belongs to one. Lock order:
// Catalog.refreshing, then Catalog.mu, then segmentCache.mu.
package store
