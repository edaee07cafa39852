package sketch

import (
	"bytes"
	"testing"
)

// FuzzDecode gives decoders bytes whose envelope is sound, so that the checksum
// does not shield them. What decodes must say so within bounded memory, encode
// again to what decodes to the same, answer, and merge.
func FuzzDecode(f *testing.F) {
	for _, data := range goldenSketches() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > envelopeBytes && blank(Kind(data[0])) != nil {
			data = seal(bytes.Clone(data[:len(data)-checksumBytes]), 0)
		}
		s, err := Decode(data)
		if err != nil {
			return
		}
		// A DDSketch has at most ddMaxBuckets counters, however few bytes name
		// their ends, and registers of axiomhq's sparse form are few bytes too.
		if size := s.SizeBytes(); size > 64*len(data)+4*8*ddMaxBuckets+packedBytes(MaxPrecision) {
			t.Fatalf("%d bytes became %d: %v", len(data), size, s)
		}
		read(s)
		again := s.AppendBinary(nil)
		second, err := Decode(again)
		if err != nil {
			t.Fatalf("%v encodes to what does not decode: %v", s, err)
		}
		if third := second.AppendBinary(nil); !bytes.Equal(again, third) {
			t.Fatalf("%v\n%x\n%x", s, again, third)
		}
		if err := s.MergeBinary(again); err != nil {
			t.Fatalf("%v does not merge with itself: %v", s, err)
		}
		read(s)
		if _, err := Info(data); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDamage flips every bit and cuts every length of every golden sketch: each
// time the checksum, or a check before it, must say no.
func TestDamage(t *testing.T) {
	for name, data := range goldenSketches() {
		if len(data) > 4000 {
			continue
		}
		for i := range len(data) {
			if _, err := Decode(data[:i]); err == nil {
				t.Errorf("%s cut at %d decodes", name, i)
			}
			for bit := range 8 {
				bad := bytes.Clone(data)
				bad[i] ^= 1 << bit
				if _, err := Decode(bad); err == nil {
					t.Errorf("%s with bit %d of byte %d flipped decodes", name, bit, i)
				}
			}
		}
	}
}
