package sketch

import (
	"errors"
	"math"
	"testing"

	"github.com/axiomhq/hyperloglog"
	"pgregory.net/rapid"
)

// TestAxiomhqAgrees exchanges sketches both ways at every size, and holds our
// estimate against theirs.
func TestAxiomhqAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(MinPrecision, MaxPrecision).Draw(t, "p")
		n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 30_000)).Draw(t, "n")
		seed := rapid.Uint64().Draw(t, "seed")
		theirs, err := hyperloglog.NewSketch(uint8(p), rapid.Bool().Draw(t, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		ours := NewAxiomhqHLL(p)
		x := seed
		for range n {
			x = x*6364136223846793005 + 1442695040888963407
			h := HashAxiomhq([]byte{byte(x >> 56), byte(x >> 48), byte(x >> 40), byte(x >> 32), byte(x >> 24)})
			theirs.InsertHash(h)
			ours.AddHash(h)
		}
		exported, err := ours.AppendAxiomhq(nil)
		if err != nil {
			t.Fatal(err)
		}
		var read hyperloglog.Sketch
		if err := read.UnmarshalBinary(exported); err != nil {
			t.Fatalf("theirs does not read ours: %v", err)
		}
		data, err := theirs.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		imported, err := DecodeAxiomhq(data)
		if err != nil {
			t.Fatalf("ours does not read theirs: %v", err)
		}
		again, err := imported.AppendAxiomhq(nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(exported) {
			t.Fatalf("p=%d n=%d: registers differ", p, n)
		}
		a, b := ours.Estimate(0.999999), float64(theirs.Estimate())
		if slack := 4/math.Sqrt(float64(uint64(1)<<p))*b + 2; math.Abs(a.Value-b) > slack {
			t.Fatalf("p=%d: ours says %v, theirs %v of %d", p, a, b, n)
		}
	})
}

func TestAxiomhqWantsItsHash(t *testing.T) {
	if _, err := NewHLL(14, 0).AppendAxiomhq(nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("a sketch of xxh3 was exported: %v", err)
	}
	if err := NewHLL(14, axiomhqSeed).Merge(NewAxiomhqHLL(14)); !errors.Is(err, ErrMismatch) {
		t.Errorf("sketches of different hashes merged: %v", err)
	}
}
