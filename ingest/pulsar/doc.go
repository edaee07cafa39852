// Package pulsar reads the partitions of a topic of Pulsar as logs, and shares
// them among nodes.
//
//	broker ─→ reader ─→ stream ─→ partitionLog ─→ ingest.Batch ─→ worker
//	                      ↑        counts, and misses nothing
//	                      └─ says when its reader cannot be trusted any more
//	broker ─→ lock of a partition: who is to read it, and how far segments speak
//
// # Offsets
//
// A message of Pulsar has a place (ledger, entry, index in its batch), which
// grows along a partition but does not fit into an offset for all clusters and
// times: ledgers are numbered across the cluster, entries without a bound that
// holds. So offsets count. The offset of a message is how many came before it in
// the chain, and every segment carries, as its tail, the place of the last
// message it counted and a hash of it. Whoever goes on from a segment asks for
// that very message, sees that it is still there and the same, and counts on
// behind it. What follows a message is the same for all who ask, so two owners
// who begin at one segment give the same offsets to the same messages.
//
// # Guarantee
//
// Every message that a reader of Pulsar may see is handed out once, in order, for
// each position that the worker goes on from. When the next message is not the
// one right behind the last (another ledger, the marker of a transaction), the
// last one is asked for again with what follows it: only if it is still there,
// and the same message follows, was there nothing in between. A reader that lost
// its connection, or whose client met an error, is dropped, and the next one
// begins at the last message that was counted.
//
// If that message is not there any more, what came behind it is not known, and a
// gap says so. Its numbering ends there, and another begins: that is the log
// named in segments, for topics of Pulsar have no identity. The gap's reason is
// what was found:
//
//	retention   later messages are there; what came before them was dropped
//	new log     another message is in its place
//	log shrank  the log is empty, or ends before it
//
// A topic that was made anew is one of these, mostly the first: its ledgers have
// higher numbers. Where messages were dropped before any was read, there is no
// gap, since nothing says so.
//
// # Who reads
//
// On each partition the nodes have a subscription of one name and the type
// Failover; the broker makes one of its consumers the active one, which reads the
// partition, with a reader, from where the chain ends. That consumer receives
// nothing. The names of segments decide what counts, so it does no harm if two
// believe to be active for a while. Brokers say who is active a moment after a
// consumer came (activeConsumerFailoverDelayTimeMillis, 1 s unless configured
// otherwise). One that says so at once, at 0, is not heard by the client, and
// nobody reads the partition.
//
// What segments have counted is acknowledged to the subscription, so that tools
// see progress and Pulsar keeps what is not yet counted: all but the entry of the
// last message. That one stays, so that the next owner can find it. A time to
// live drops it nevertheless; where one is shorter than the topic's pauses, gaps
// are recorded at which perhaps nothing was lost.
//
// # What is not done
//
// Messages that producers sent in chunks, because they are larger than the broker
// takes (5 MiB), are passed over, counted, and told: whether one is whole depends
// on where reading began. Messages that the client cannot read, as encrypted
// ones, hold the partition up, which is told. Looking for a topic makes brokers
// create it, if they may (allowAutoTopicCreation). Nodes do not learn of each
// other here: what others have in memory is in answers once it is stored.
//
// # Bounds
//
//	a reader's queue   1,000 messages, and the batches they came in
//	handed out         1 MiB of messages at a time, unless one is larger, three at a time
//	progress           10,000 ends of batches between two segments; over it, the newest takes the last one's place
//	chunks             of one message
//
// A worker over its memory asks for nothing; its partition's queue fills, and the
// broker waits.
//
// # Goroutines
//
// Source.Run starts the client's own. Calls of the client cannot be cancelled,
// so each has a goroutine of its own, which Run awaits for a while when it ends;
// one that the client forgets is left behind.
package pulsar
