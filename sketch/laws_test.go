package sketch

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// An event is what any sketch can be given: a value, an item, or its hash.
type event struct {
	value float64
	item  int
}

func (e event) name() string { return "item/" + strconv.Itoa(e.item) }
func (e event) hash() uint64 { return HashString(lawSeed, e.name()) }

const lawSeed = 7

// A subject is a kind of sketch under the laws that all obey.
type subject struct {
	name  string
	fresh func() Sketch
	add   func(s Sketch, e event)
	merge func(s, o Sketch) error

	// Merging equals concatenation bit for bit: always, or while exact.
	always bool

	// truth is checked against the estimates of a sketch of those events.
	check func(t *rapid.T, s Sketch, events []event)
}

func subjects() []subject {
	quantiles := func(name string, always bool, fresh func() Sketch, merge func(s, o Sketch) error) subject {
		return subject{name: name, always: always, fresh: fresh, merge: merge,
			add:   func(s Sketch, e event) { s.(Quantiles).Add(e.value) },
			check: checkQuantiles}
	}
	return []subject{
		{name: "hll", always: true, fresh: func() Sketch { return NewHLL(9, lawSeed) },
			add:   func(s Sketch, e event) { s.(*HLL).AddHash(e.hash()) },
			merge: func(s, o Sketch) error { return s.(*HLL).Merge(o.(*HLL)) },
			check: checkDistinct},
		quantiles("tdigest", false, func() Sketch { return NewTDigest(100) },
			func(s, o Sketch) error { return s.(*TDigest).Merge(o.(*TDigest)) }),
		quantiles("ddsketch", true, func() Sketch { return NewDDSketch(5) },
			func(s, o Sketch) error { return s.(*DDSketch).Merge(o.(*DDSketch)) }),
		quantiles("ddsketch fine", true, func() Sketch { return NewDDSketch(8) },
			func(s, o Sketch) error { return s.(*DDSketch).Merge(o.(*DDSketch)) }),
		{name: "top", fresh: func() Sketch { return NewTop(20) },
			add:   func(s Sketch, e event) { s.(*Top).Add(e.name(), 1) },
			merge: func(s, o Sketch) error { return s.(*Top).Merge(o.(*Top)) },
			check: checkTop},
		{name: "frequency", fresh: func() Sketch { return NewFrequency(0.05, 0.05, lawSeed) },
			add:   func(s Sketch, e event) { s.(*Frequency).AddHash(e.hash(), 1) },
			merge: func(s, o Sketch) error { return s.(*Frequency).Merge(o.(*Frequency)) },
			check: checkFrequency},
		{name: "moments", fresh: func() Sketch { return new(Moments) },
			add:   func(s Sketch, e event) { s.(*Moments).Add(e.value) },
			merge: func(s, o Sketch) error { s.(*Moments).Merge(o.(*Moments)); return nil },
			check: checkMoments},
		{name: "theta", always: true, fresh: func() Sketch { return NewTheta(64, lawSeed) },
			add:   func(s Sketch, e event) { s.(*Theta).AddHash(e.hash()) },
			merge: func(s, o Sketch) error { return s.(*Theta).Merge(o.(*Theta)) },
			check: checkDistinct},
		{name: "reservoir", always: true, fresh: func() Sketch { return NewReservoir(30) },
			add: func(s Sketch, e event) {
				s.(*Reservoir).Add(e.hash(), 1+float64(e.item%5), []byte(e.name()))
			},
			merge: func(s, o Sketch) error { return s.(*Reservoir).Merge(o.(*Reservoir)) },
			check: checkReservoir},
	}
}

// events draws a stream: of any size, from few or many items, and of values of
// one of several natures.
func events(t *rapid.T) []event {
	n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 400), rapid.IntRange(0, 5000)).Draw(t, "n")
	items := rapid.SampledFrom([]int{1, 8, 60, 1000, 100_000}).Draw(t, "items")
	nature := rapid.SampledFrom([]string{"normal", "lognormal", "whole", "cents", "huge", "tiny", "constant", "mixed"}).Draw(t, "nature")
	x := rapid.Uint64().Draw(t, "seed")
	next := func() float64 { // SplitMix64: rapid is slow at thousands of draws
		x += 0x9E3779B97F4A7C15
		z := x
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return float64((z^z>>31)>>11) * 0x1p-53
	}
	normal := func() float64 { return math.Sqrt(-2*math.Log(1-next())) * math.Cos(2*math.Pi*next()) }
	list := make([]event, n)
	for i := range list {
		v := normal()
		switch nature {
		case "lognormal":
			v = math.Exp(1.5 * v)
		case "whole":
			v = math.Round(20 * v)
		case "cents":
			v = math.Round(1000*math.Exp(v)) / 100
		case "huge":
			v *= 1e300
		case "tiny":
			v *= 5e-324 * 1e5
		case "constant":
			v = 0.1
		case "mixed":
			v = []float64{0, -1, 1e12, v, math.Exp(20 * v)}[int(5*next())]
		}
		list[i] = event{value: v, item: int(float64(items) * next() * next())}
	}
	return list
}

func build(s subject, list []event) Sketch {
	k := s.fresh()
	for _, e := range list {
		s.add(k, e)
	}
	return k
}

// mergeTree splits the events and merges their sketches in a random tree, some
// from memory and some from bytes.
func mergeTree(t *rapid.T, s subject, list []event) Sketch {
	var parts []Sketch
	rest := list
	for len(parts) < 12 && len(rest) > 0 {
		n := rapid.IntRange(0, len(rest)).Draw(t, "cut")
		parts = append(parts, build(s, rest[:n]))
		rest = rest[n:]
	}
	parts = append(parts, build(s, rest))
	for len(parts) > 1 {
		i := rapid.IntRange(0, len(parts)-2).Draw(t, "into")
		j := rapid.IntRange(i+1, len(parts)-1).Draw(t, "from")
		var err error
		if rapid.Bool().Draw(t, "bytes") {
			err = parts[i].MergeBinary(parts[j].AppendBinary(nil))
		} else {
			err = s.merge(parts[i], parts[j])
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = slices.Delete(parts, j, j+1)
	}
	return parts[0]
}

func TestMergeEqualsConcatenation(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				list := events(t)
				whole, tree := build(s, list), mergeTree(t, s, list)
				if s.always || s.name != "moments" && whole.Exact() && tree.Exact() {
					if a, b := whole.AppendBinary(nil), tree.AppendBinary(nil); !bytes.Equal(a, b) {
						t.Fatalf("%d events:\nwhole  %v\nmerged %v\n%x\n%x", len(list), whole, tree, a, b)
					}
				}
				s.check(t, whole, list)
				s.check(t, tree, list)
			})
		})
	}
}

func TestMergeCommutes(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, b := events(t), events(t)
				ab, ba := build(s, a), build(s, b)
				x, y := build(s, b), build(s, a)
				if err := s.merge(ab, x); err != nil {
					t.Fatal(err)
				}
				if err := s.merge(ba, y); err != nil {
					t.Fatal(err)
				}
				if s.always || s.name != "moments" && ab.Exact() && ba.Exact() {
					if !bytes.Equal(ab.AppendBinary(nil), ba.AppendBinary(nil)) {
						t.Fatalf("a+b %v\nb+a %v", ab, ba)
					}
				}
				s.check(t, ab, append(slices.Clone(a), b...))
				s.check(t, ba, append(slices.Clone(a), b...))
			})
		})
	}
}

func TestDecodeUndoesEncode(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				list := events(t)
				k := build(s, list)
				if rapid.Bool().Draw(t, "merged") {
					k = mergeTree(t, s, list)
				}
				data := k.AppendBinary([]byte("before"))
				data, ok := bytes.CutPrefix(data, []byte("before"))
				if !ok {
					t.Fatal("AppendBinary overwrote what was there")
				}
				read, err := Decode(data)
				if err != nil {
					t.Fatal(err)
				}
				if again := read.AppendBinary(nil); !bytes.Equal(again, data) {
					t.Fatalf("%v\n%v\n%x\n%x", k, read, data, again)
				}
				into := s.fresh()
				if err := into.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
				if again := into.AppendBinary(nil); !bytes.Equal(again, data) {
					t.Fatalf("merged into an empty one:\n%v\n%v\n%x\n%x", k, into, data, again)
				}
				if read.Exact() && !k.Exact() {
					t.Fatalf("%v is exact, decoded from %v", read, k)
				}
				s.check(t, read, list)
				k.Reset()
				if !bytes.Equal(k.AppendBinary(nil), s.fresh().AppendBinary(nil)) {
					t.Fatalf("%v after Reset", k)
				}
			})
		})
	}
}

// TestReadingChangesNothing reads one sketch from many goroutines; the race
// detector watches.
func TestReadingChangesNothing(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			var list []event
			for i := range 3000 {
				list = append(list, event{value: math.Sin(float64(i)), item: i})
			}
			k := build(s, list)
			if err := k.MergeBinary(build(s, list[:700]).AppendBinary(nil)); err != nil {
				t.Fatal(err)
			}
			s.add(k, list[0])
			before := k.AppendBinary(nil)
			var readers sync.WaitGroup
			for range 8 {
				readers.Go(func() {
					for range 20 {
						read(k)
					}
				})
			}
			readers.Wait()
			if !bytes.Equal(before, k.AppendBinary(nil)) {
				t.Errorf("%v changed by reading", k)
			}
		})
	}
}

func read(k Sketch) {
	_ = fmt.Sprint(k, k.Exact(), k.SizeBytes(), len(k.AppendBinary(nil)))
	switch k := k.(type) {
	case *HLL:
		k.Estimate(0.95)
	case Quantiles:
		_ = fmt.Sprint(k.Quantile(0.5, 0.95), k.Rank(0.5, 0.95), k.Min(), k.Max(), k.Histogram(40))
	case *Top:
		_ = fmt.Sprint(k.Items(5), k.Item("item/1"))
	case *Frequency:
		k.Estimate(1, 0.95)
	case *Theta:
		k.Estimate(0.95)
	case *Reservoir:
		k.Sample()
	}
}

// TestStraightEncoders holds the encoders that need no sketch against those of one.
func TestStraightEncoders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := events(t)
		var (
			tokens  []uint32
			values  []float64
			hashes  []uint64
			counts  = map[string]uint64{}
			hll     = NewHLL(12, lawSeed)
			digest  = NewTDigest(100)
			buckets = NewDDSketch(5)
			top     = NewTop(4000)
			freq    = NewFrequency(0.05, 0.05, lawSeed)
			items   []TopItem
		)
		for _, e := range list {
			tokens, values, hashes = append(tokens, Token(e.hash())), append(values, e.value), append(hashes, e.hash())
			counts[e.name()]++
			hll.AddHash(e.hash())
			digest.Add(e.value)
			buckets.Add(e.value)
			top.Add(e.name(), 1)
			freq.AddHash(e.hash(), 1)
		}
		for item, n := range counts {
			items = append(items, TopItem{Item: item, Count: n})
		}
		same := func(name string, straight []byte, s Sketch) {
			if !bytes.Equal(straight, s.AppendBinary(nil)) {
				t.Fatalf("%s of %d events differs from %v", name, len(list), s)
			}
		}
		same("AppendHLL", AppendHLL(nil, 12, lawSeed, slices.Clone(tokens)), hll)
		same("AppendTDigest", AppendTDigest(nil, 100, slices.Clone(values)), digest)
		same("AppendDDSketch", AppendDDSketch(nil, 5, slices.Clone(values)), buckets)
		same("AppendFrequency", AppendFrequency(nil, 0.05, 0.05, lawSeed, slices.Clone(hashes)), freq)
		if len(items) <= 4000 {
			same("AppendTop", AppendTop(nil, 4000, slices.Clone(items)), top)
		}
		short := new(Top)
		if err := short.UnmarshalBinary(AppendTop(nil, 10, items)); err != nil {
			t.Fatal(err)
		}
		checkTop(t, short, list)
	})
}
