package sketch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Reservoir keeps a weighted random sample of events, as bytes.
//
// Idea: give each event a rank, -ln(u)/weight, with u uniform in (0, 1) made from
// its hash, and keep the k lowest ranks. Since the rank depends on the event
// alone, shards agree on it, and an event that was seen twice is kept once.
//
//	Papers     Efraimidis, Spirakis, "Weighted random sampling with a reservoir"
//	           (2006); Cohen, Kaplan, "Summarizing data using bottom-k sketches" (2007)
//	Guarantee  an event of weight w is in the sample with a chance of 1-exp(-wτ), τ
//	           being the lowest rank that was dropped. Dividing by that chance, sums over
//	           any part of the events are unbiased; up to k events they are exact.
//	Bytes      event + 56 in memory, event + 18 encoded.
//	Merge law  exact: merging equals concatenation, bit for bit, in any order and
//	           with repeats.
//	Otherwise  any other sketch, when the question is known beforehand.
//
// A Reservoir is safe for concurrent reads. It never changes on reading.
type Reservoir struct {
	k         int
	threshold float64 // lowest rank that was dropped, +Inf while none was
	sample    []Sampled
}

// Sampled is an event of the sample.
type Sampled struct {
	Hash   uint64
	Weight float64
	Event  []byte
	rank   float64
}

// DefaultSample is the usual size of the sample; MaxSample and MaxEventBytes are
// the largest, of a sample and of an event in it.
const (
	DefaultSample = 64
	MaxSample     = 1 << 16
	MaxEventBytes = 1 << 16
)

// NewReservoir returns an empty sample of at most k events, between 1 and MaxSample.
func NewReservoir(k int) *Reservoir {
	return &Reservoir{k: min(max(k, 1), MaxSample), threshold: math.Inf(1)}
}

// Add offers an event with its hash, which should be of the event and of what
// makes it unique, such as partition and offset. The event is copied when it is
// taken. Events over MaxEventBytes are cut off. Weights must be positive and
// finite; others are ignored.
func (r *Reservoir) Add(hash uint64, weight float64, event []byte) {
	if !(weight > 0 && weight <= math.MaxFloat64) {
		return
	}
	rank := sampleRank(hash, weight)
	if rank >= r.threshold {
		return
	}
	event = event[:min(len(event), MaxEventBytes)]
	r.take(Sampled{Hash: hash, Weight: weight, Event: event, rank: rank}, true)
}

// sampleRank is -ln(u)/weight, u being the hash's upper 53 bits and a half.
func sampleRank(hash uint64, weight float64) float64 {
	u := (float64(hash>>11) + 0.5) * 0x1p-53
	return -math.Log(u) / weight
}

// take adds an event, copying its bytes if asked to, and drops when twice as
// many are there as are kept.
func (r *Reservoir) take(s Sampled, copied bool) {
	if copied {
		s.Event = bytes.Clone(s.Event)
	}
	r.sample = append(r.sample, s)
	if len(r.sample) > 2*r.k {
		r.settle()
	}
}

// settle sorts the sample, drops repeats and what is over k.
func (r *Reservoir) settle() {
	slices.SortFunc(r.sample, compareSampled)
	r.sample = slices.CompactFunc(r.sample, func(a, b Sampled) bool { return a.Hash == b.Hash && a.Weight == b.Weight })
	if len(r.sample) > r.k {
		r.threshold = min(r.threshold, r.sample[r.k].rank)
		clear(r.sample[r.k:])
		r.sample = r.sample[:r.k]
	}
}

func compareSampled(a, b Sampled) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.Hash, b.Hash), bytes.Compare(a.Event, b.Event))
}

// settled returns the sample in order, without repeats, or a copy.
func (r *Reservoir) settled() *Reservoir {
	c := *r
	c.sample = slices.Clone(r.sample)
	c.settle()
	return &c
}

// Sample returns the events, by rank: the first n of them are a sample too. The
// caller must not change their bytes.
func (r *Reservoir) Sample() []Sampled { return r.settled().sample }

// Sum estimates the sum of value over all events for which it is not 0, from
// those in the sample: each counts for as many as its chance to be in it says.
// The interval is a normal one, and too small for sums that rest on few events.
func (r *Reservoir) Sum(value func(s Sampled) float64, confidence float64) Estimate {
	c := r.settled()
	sum, variance := 0.0, 0.0
	for _, s := range c.sample {
		chance := -math.Expm1(-s.Weight * c.threshold)
		v := value(s)
		sum += v / chance
		variance += v * v * (1 - chance) / (chance * chance)
	}
	spread := normalQuantile(confidence) * math.Sqrt(variance)
	return Estimate{Value: sum, Lower: sum - spread, Upper: sum + spread}
}

// Merge offers all that the other sample kept.
func (r *Reservoir) Merge(o *Reservoir) error {
	r.k = min(r.k, o.k)
	r.lower(o.threshold)
	for _, s := range slices.Clone(o.sample) {
		if s.rank < r.threshold {
			r.take(s, false)
		}
	}
	return nil
}

// lower brings the threshold down, dropping what is not below it.
func (r *Reservoir) lower(threshold float64) {
	r.threshold = min(r.threshold, threshold)
	r.sample = slices.DeleteFunc(r.sample, func(s Sampled) bool { return s.rank >= r.threshold })
}

// Exact reports whether every event is in the sample.
func (r *Reservoir) Exact() bool { return math.IsInf(r.settled().threshold, 1) }

// SizeBytes is the memory the sample holds.
func (r *Reservoir) SizeBytes() int {
	size := 40 + 56*cap(r.sample)
	for i := range r.sample {
		size += len(r.sample[i].Event)
	}
	return size
}

// Reset empties the sample.
func (r *Reservoir) Reset() {
	clear(r.sample)
	*r = Reservoir{k: r.k, threshold: math.Inf(1), sample: r.sample[:0]}
}

func (r *Reservoir) String() string {
	return fmt.Sprintf("reservoir of at most %d events, %d there, threshold %g", r.k, len(r.settled().sample), r.threshold)
}

// AppendBinary appends the sample's encoding to dst, which is canonical.
//
//	'R' | version, form | k uvarint | threshold float64 | n uvarint
//	    | n × (hash uint64, weight float64, size uvarint, event) | checksum
//
// By rank, which is computed again when reading. Little-endian.
func (r *Reservoir) AppendBinary(dst []byte) []byte {
	c := r.settled()
	start := len(dst)
	dst = append(dst, byte(KindReservoir), encodingVersion<<4|1)
	dst = binary.AppendUvarint(dst, uint64(c.k))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.threshold))
	dst = binary.AppendUvarint(dst, uint64(len(c.sample)))
	for _, s := range c.sample {
		dst = binary.LittleEndian.AppendUint64(dst, s.Hash)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.Weight))
		dst = binary.AppendUvarint(dst, uint64(len(s.Event)))
		dst = append(dst, s.Event...)
	}
	return seal(dst, start)
}

// UnmarshalBinary makes the sample what it was when it was encoded.
func (r *Reservoir) UnmarshalBinary(data []byte) error {
	form, body, err := open(KindReservoir, data)
	if err != nil {
		return err
	}
	in := reader{b: body}
	k := in.uvarint()
	threshold := math.Float64frombits(in.uint64())
	n := in.count(17)
	if form != 1 || in.failed || k < 1 || k > MaxSample || uint64(n) > k || !(threshold > 0) {
		return corrupt(KindReservoir, "form %d, %d events of at most %d below %g", form, n, k, threshold)
	}
	d := &Reservoir{k: int(k), threshold: threshold, sample: make([]Sampled, 0, n)}
	for i := range n {
		s := Sampled{Hash: in.uint64(), Weight: math.Float64frombits(in.uint64())}
		s.Event = bytes.Clone(in.bytes(in.uvarint()))
		s.rank = sampleRank(s.Hash, s.Weight)
		if in.failed || !(s.Weight > 0 && s.Weight <= math.MaxFloat64) || len(s.Event) > MaxEventBytes || !(s.rank < threshold) ||
			i > 0 && compareSampled(d.sample[i-1], s) >= 0 {
			return corrupt(KindReservoir, "event %d of %d, weight %g, %d bytes", i, n, s.Weight, len(s.Event))
		}
		d.sample = append(d.sample, s)
	}
	if !in.done() {
		return corrupt(KindReservoir, "%d bytes after the last event", len(in.b))
	}
	*r = *d
	return nil
}

// MergeBinary offers all that an encoded sample kept.
func (r *Reservoir) MergeBinary(data []byte) error {
	var o Reservoir
	if err := o.UnmarshalBinary(data); err != nil {
		return err
	}
	return r.Merge(&o)
}
