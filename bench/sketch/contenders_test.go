package sketch

import (
	"encoding/binary"
	"strconv"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/apache/datasketches-go/count"
	"github.com/apache/datasketches-go/frequencies"
	"github.com/apache/datasketches-go/hll"
	dstdigest "github.com/apache/datasketches-go/tdigest"
	"github.com/axiomhq/hyperloglog"
	caio "github.com/caio/go-tdigest/v4"
	influx "github.com/influxdata/tdigest"

	"github.com/weir-stream/weir/sketch"
)

// An event is what a sketch is given: the hash of an item, the item, a value.
type event struct {
	hash  uint64
	item  string
	value float64
}

// A contender is one implementation behind closures that loop themselves, so
// that what an interface costs does not count. What is nil it cannot do.
type contender struct {
	name   string
	fresh  func() any
	add    func(s any, events []event)
	merge  func(into, from any)
	ask    func(s any)
	encode func(s any) []byte
	decode func(data []byte) any
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](v T, err error) T {
	must(err)
	return v
}

func distinct() []contender {
	return []contender{
		{
			name:  "weir",
			fresh: func() any { return sketch.NewHLL(14, 0) },
			add: func(s any, events []event) {
				h := s.(*sketch.HLL)
				for i := range events {
					h.AddHash(events[i].hash)
				}
			},
			merge:  func(into, from any) { must(into.(*sketch.HLL).Merge(from.(*sketch.HLL))) },
			ask:    func(s any) { s.(*sketch.HLL).Estimate(0.95) },
			encode: func(s any) []byte { return s.(*sketch.HLL).AppendBinary(nil) },
			decode: func(data []byte) any { h := new(sketch.HLL); must(h.UnmarshalBinary(data)); return h },
		},
		{
			name:  "axiomhq",
			fresh: func() any { return hyperloglog.New14() },
			add: func(s any, events []event) {
				h := s.(*hyperloglog.Sketch)
				for i := range events {
					h.InsertHash(events[i].hash)
				}
			},
			merge:  func(into, from any) { must(into.(*hyperloglog.Sketch).Merge(from.(*hyperloglog.Sketch))) },
			ask:    func(s any) { s.(*hyperloglog.Sketch).Estimate() },
			encode: func(s any) []byte { return value(s.(*hyperloglog.Sketch).MarshalBinary()) },
			decode: func(data []byte) any { h := new(hyperloglog.Sketch); must(h.UnmarshalBinary(data)); return h },
		},
		{
			name:  "datasketches", // hashes what it is given once more
			fresh: func() any { return value(hll.NewHllSketch(14, hll.TgtHllTypeHll8)) },
			add: func(s any, events []event) {
				h := s.(hll.HllSketch)
				for i := range events {
					must(h.UpdateUInt64(events[i].hash))
				}
			},
			merge: func(into, from any) {
				u := value(hll.NewUnion(14))
				must(u.UpdateSketch(into.(hll.HllSketch)))
				must(u.UpdateSketch(from.(hll.HllSketch)))
			},
			ask:    func(s any) { value(s.(hll.HllSketch).GetEstimate()) },
			encode: func(s any) []byte { return value(s.(hll.HllSketch).ToCompactSlice()) },
			decode: func(data []byte) any { return value(hll.NewHllSketchFromSlice(data, true)) },
		},
	}
}

var asked = []float64{0.5, 0.9, 0.99}

func quantiles() []contender {
	weir := func(name string, fresh func() any, merge func(into, from any), decode func([]byte) any) contender {
		return contender{
			name: name, fresh: fresh, merge: merge, decode: decode,
			add: func(s any, events []event) {
				switch d := s.(type) {
				case *sketch.TDigest:
					for i := range events {
						d.Add(events[i].value)
					}
				case *sketch.DDSketch:
					for i := range events {
						d.Add(events[i].value)
					}
				}
			},
			ask: func(s any) {
				d := s.(sketch.Quantiles)
				for _, q := range asked {
					d.Quantile(q, 0.95)
				}
			},
			encode: func(s any) []byte { return s.(sketch.Quantiles).AppendBinary(nil) },
		}
	}
	return []contender{
		weir("weir-tdigest", func() any { return sketch.NewTDigest(100) },
			func(into, from any) { must(into.(*sketch.TDigest).Merge(from.(*sketch.TDigest))) },
			func(data []byte) any { d := new(sketch.TDigest); must(d.UnmarshalBinary(data)); return d }),
		{
			name:  "influxdata", // merging loses values
			fresh: func() any { return influx.NewWithCompression(100) },
			add: func(s any, events []event) {
				d := s.(*influx.TDigest)
				for i := range events {
					d.Add(events[i].value, 1)
				}
			},
			merge: func(into, from any) { into.(*influx.TDigest).AddCentroidList(from.(*influx.TDigest).Centroids()) },
			ask: func(s any) {
				for _, q := range asked {
					s.(*influx.TDigest).Quantile(q)
				}
			},
		},
		{
			name:  "caio",
			fresh: func() any { return value(caio.New(caio.Compression(100))) },
			add: func(s any, events []event) {
				d := s.(*caio.TDigest)
				for i := range events {
					must(d.Add(events[i].value))
				}
			},
			merge: func(into, from any) { must(into.(*caio.TDigest).Merge(from.(*caio.TDigest))) },
			ask: func(s any) {
				for _, q := range asked {
					s.(*caio.TDigest).Quantile(q)
				}
			},
			encode: func(s any) []byte { return value(s.(*caio.TDigest).AsBytes()) },
			decode: func(data []byte) any { d := value(caio.New()); must(d.FromBytes(data)); return d },
		},
		{
			name:  "datasketches", // its quantiles interpolate with swapped weights
			fresh: func() any { return value(dstdigest.NewDouble(100)) },
			add: func(s any, events []event) {
				d := s.(*dstdigest.Double)
				for i := range events {
					must(d.Update(events[i].value))
				}
			},
			merge: func(into, from any) { must(into.(*dstdigest.Double).Merge(from.(*dstdigest.Double))) },
			ask: func(s any) {
				for _, q := range asked {
					value(s.(*dstdigest.Double).Quantile(q))
				}
			},
			encode: func(s any) []byte { return value(dstdigest.EncodeDouble(s.(*dstdigest.Double), false)) },
			decode: func(data []byte) any { return value(dstdigest.DecodeDouble(data)) },
		},
		weir("weir-ddsketch", func() any { return sketch.NewDDSketch(5) },
			func(into, from any) { must(into.(*sketch.DDSketch).Merge(from.(*sketch.DDSketch))) },
			func(data []byte) any { d := new(sketch.DDSketch); must(d.UnmarshalBinary(data)); return d }),
		{
			name:  "DataDog",
			fresh: func() any { return value(ddsketch.NewDefaultDDSketch(0.01)) },
			add: func(s any, events []event) {
				d := s.(*ddsketch.DDSketch)
				for i := range events {
					must(d.Add(events[i].value))
				}
			},
			merge: func(into, from any) { must(into.(*ddsketch.DDSketch).MergeWith(from.(*ddsketch.DDSketch))) },
			ask: func(s any) {
				for _, q := range asked {
					value(s.(*ddsketch.DDSketch).GetValueAtQuantile(q))
				}
			},
			encode: func(s any) []byte { var b []byte; s.(*ddsketch.DDSketch).Encode(&b, false); return b },
			decode: func(data []byte) any {
				return value(ddsketch.DecodeDDSketch(data, store.BufferedPaginatedStoreConstructor, nil))
			},
		},
	}
}

func heavy() []contender {
	return []contender{
		{
			name:  "weir-frequency",
			fresh: func() any { return sketch.NewFrequency(0.001, 0.01, 0) },
			add: func(s any, events []event) {
				f := s.(*sketch.Frequency)
				for i := range events {
					f.AddHash(events[i].hash, 1)
				}
			},
			merge:  func(into, from any) { must(into.(*sketch.Frequency).Merge(from.(*sketch.Frequency))) },
			ask:    func(s any) { s.(*sketch.Frequency).Estimate(1<<40, 0.95) },
			encode: func(s any) []byte { return s.(*sketch.Frequency).AppendBinary(nil) },
			decode: func(data []byte) any { f := new(sketch.Frequency); must(f.UnmarshalBinary(data)); return f },
		},
		{
			name:  "datasketches-countmin", // not conservative
			fresh: func() any { return value(count.NewCountMinSketch(5, 4096, 0)) },
			add: func(s any, events []event) {
				f := s.(*count.CountMinSketch)
				for i := range events {
					must(f.UpdateUint64(events[i].hash, 1))
				}
			},
			merge: func(into, from any) { must(into.(*count.CountMinSketch).Merge(from.(*count.CountMinSketch))) },
			ask:   func(s any) { s.(*count.CountMinSketch).GetEstimateUint64(1 << 40) },
		},
		{
			name:  "weir-top", // hashes the item too
			fresh: func() any { return sketch.NewTop(1024) },
			add: func(s any, events []event) {
				f := s.(*sketch.Top)
				for i := range events {
					f.Add(events[i].item, 1)
				}
			},
			merge:  func(into, from any) { must(into.(*sketch.Top).Merge(from.(*sketch.Top))) },
			ask:    func(s any) { s.(*sketch.Top).Items(10) },
			encode: func(s any) []byte { return s.(*sketch.Top).AppendBinary(nil) },
			decode: func(data []byte) any { f := new(sketch.Top); must(f.UnmarshalBinary(data)); return f },
		},
		{
			name:  "datasketches-longs", // of numbers, not of strings
			fresh: func() any { return value(frequencies.NewLongsSketchWithMaxMapSize(2048)) },
			add: func(s any, events []event) {
				f := s.(*frequencies.LongsSketch)
				for i := range events {
					must(f.Update(int64(events[i].hash)))
				}
			},
			merge: func(into, from any) {
				value(into.(*frequencies.LongsSketch).Merge(from.(*frequencies.LongsSketch)))
			},
			ask: func(s any) {
				value(s.(*frequencies.LongsSketch).GetFrequentItems(frequencies.ErrorTypeEnum.NoFalsePositives))
			},
			encode: func(s any) []byte { return s.(*frequencies.LongsSketch).ToSlice() },
			decode: func(data []byte) any { return value(frequencies.NewLongsSketchFromSlice(data)) },
		},
	}
}

func itemEvent(i uint64, x float64) event {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], i)
	return event{hash: sketch.Hash(0, b[:]), item: "item-" + strconv.FormatUint(i, 10), value: x}
}
