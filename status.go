package weir

import "time"

// Ack says where a pushed batch became durable.
type Ack struct {
	Partition string
	Offset    int64 // of the batch's first event; the others follow it
	Events    int
	Duplicate bool // the key was known: this is where the batch lies since it first came
}

// Status is how far a stream has come.
type Status struct {
	Events     int64     // counted, those in live shards included
	Rejected   int64     // refused by decode
	Watermark  time.Time // event time up to which all partitions are believed complete; zero means none yet
	Partitions []PartitionStatus
}

// PartitionStatus is how far one partition of a stream has come.
type PartitionStatus struct {
	Partition string
	Committed int64 // offset up to which segments speak
	Position  int64 // offset of the next event to be read
	Lag       int64 // what the log holds past Position; -1 means unknown
	Watermark time.Time
}

// Rejects is what decode refused of a stream since the process began.
type Rejects struct {
	ByReason map[string]int64
	Sample   []Reject // bounded, newest first
}

// Reject is one refused event.
type Reject struct {
	Reason    string
	Excerpt   string // the beginning of the line, valid UTF-8
	Partition string
	Offset    int64
	Time      time.Time // when it was refused
}
