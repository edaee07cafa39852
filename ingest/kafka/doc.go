// Package kafka reads the partitions of a topic as logs, and shares them among
// the members of a consumer group.
//
//	brokers ─→ lane ─→ want ─→ batchReader ─→ ingest.Batch ─→ worker
//	   ↑        one request for many        checked, decompressed,
//	   │        partitions of a broker      aborted records left out
//	   └─ kafka-go: connections, TLS, SASL, membership of the group
//
// # Guarantee
//
// Every record that was committed, or never part of a transaction, is handed out
// once for each position that the worker goes on from, in the order of its
// offset; none that was aborted is, and no bytes that its producer did not
// write: CRC-32C is checked. What was lost before it was read is never passed
// over in silence. It is a gap, of one of four kinds:
//
//	start       the log began past 0 when it was first read
//	retention   the log dropped what comes next
//	new log     another topic has the name: fetches are bound to the topic's ID,
//	            or, of brokers that cannot be asked by ID, checked against it
//	log shrank  the log ends before what was read, as after an unclean election
//
// The offsets of the chain are those of the log plus a shift, so that they go on
// rising when the log does not.
//
// # What is not the client's
//
// kafka-go's own Reader delivers aborted records and control records, does not
// check sums, stops at compacted batches, and jumps from a missing offset to
// another in silence. So requests for records, metadata and offsets are our own,
// exchanged over kafka-go's connections; its consumer group and its commits are
// used as they are. Kafka 2.8 and later is understood; fetching by ID is from
// 3.1 on.
//
// # Groups
//
// The group says who reads what; it does not make anything exact. When a
// partition moves, both may read it for a while, and the first segment counts.
// So a rebalance stops nobody: partitions that stay are read on, and progress is
// committed after segments, for others to see. Assignment is even and sticky; a
// member's address travels with its claim, so members find each other there.
//
// A missing topic is waited for outside of the group, since joining would make
// many brokers create it.
//
// # Failures
//
// Whatever a broker says or fails to say, a log waits, each time a little longer
// up to 5 s, tells what for, and goes on. After an error in an exchange its
// buffers are never used again, for the connection may still be writing to them.
//
// # Bounds
//
//	a response     16 MiB in all and 1 MiB a partition, unless a batch is larger; 256 MiB at most
//	a batch        128 MiB decompressed
//	handed out     1 MiB of records at a time, unless a batch is larger, three at a time
//
// A worker over its memory asks for nothing, and its partition waits while
// others go on: a request is only for those who ask.
//
// # Goroutines
//
// Source.Run starts one that commits, and those of kafka-go's consumer group. A
// log has none: the worker that calls Next fetches, for all who wait at the same
// broker by then.
package kafka
