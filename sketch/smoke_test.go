package sketch

import (
	"bytes"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

func TestSmoke(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 15, 84, 128, 129, 1000, 5000, 100000} {
		h := NewHLL(14, 0)
		td := NewTDigest(100)
		dd := NewDDSketch(5)
		top := NewTop(128)
		fr := NewFrequency(0.001, 0.01, 0)
		var toks []uint32
		var vals, vals2 []float64
		var hashes []uint64
		counts := map[string]uint64{}
		for range n {
			hv := rng.Uint64()
			h.AddHash(hv)
			toks = append(toks, Token(hv))
			x := math.Round(math.Exp(rng.NormFloat64()*1.5)*1000) / 1000
			td.Add(x)
			dd.Add(x)
			vals = append(vals, x)
			item := string(rune('a'+rng.IntN(26))) + "/item/" + string(rune('a'+rng.IntN(26)))
			counts[item]++
			top.Add(item, 1)
			hashes = append(hashes, HashString(0, item))
			fr.AddHash(HashString(0, item), 1)
		}
		vals2 = append(vals2, vals...)
		vals3 := append([]float64(nil), vals...)
		var items []TopItem
		for k, v := range counts {
			items = append(items, TopItem{Item: k, Count: v})
		}
		check := func(name string, a, b []byte, s, fresh Sketch) {
			t.Helper()
			if !bytes.Equal(a, b) {
				t.Errorf("n=%d %s: Append differs from Add: %d vs %d bytes", n, name, len(a), len(b))
			}
			d, err := Decode(a)
			if err != nil {
				t.Fatalf("n=%d %s: %v", n, name, err)
			}
			if c := d.AppendBinary(nil); !bytes.Equal(c, a) {
				t.Errorf("n=%d %s: decode encode differs", n, name)
			}
			if err := fresh.MergeBinary(a); err != nil {
				t.Fatal(err)
			}
			if c := fresh.AppendBinary(nil); !bytes.Equal(c, a) {
				t.Errorf("n=%d %s: merge into empty differs %d %d", n, name, len(c), len(a))
			}
			t.Logf("n=%d %s %d bytes, memory %d: %v", n, name, len(a), s.SizeBytes(), d)
		}
		check("hll", h.AppendBinary(nil), AppendHLL(nil, 14, 0, toks), h, NewHLL(14, 0))
		check("td", td.AppendBinary(nil), AppendTDigest(nil, 100, vals), td, NewTDigest(100))
		check("dd", dd.AppendBinary(nil), AppendDDSketch(nil, 5, vals2), dd, NewDDSketch(5))
		if len(items) < 256 {
			check("top", top.AppendBinary(nil), AppendTop(nil, 128, items), top, NewTop(128))
		}
		check("freq", fr.AppendBinary(nil), AppendFrequency(nil, .001, .01, 0, hashes), fr, NewFrequency(.001, .01, 0))
		sort.Float64s(vals3)
		for _, q := range []float64{0, .01, .5, .9, .99, .999, 1} {
			if n == 0 {
				break
			}
			k := max(int(math.Ceil(q*float64(n))), 1)
			t.Logf("  q%g truth %g td %v dd %v", q, vals3[k-1], td.Quantile(q, .95), dd.Quantile(q, .95))
		}
		_ = td.Histogram(60)
		_ = dd.Histogram(60)
	}
}
