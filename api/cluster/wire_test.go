package cluster

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir"
)

func numbers() *weir.Stream {
	return &weir.Stream{Name: "numbers", Window: 10 * time.Second,
		Dimensions: []weir.Dimension{{Name: "key", Field: "key"}, {Name: "kind", Field: "kind"}},
		Measures: []weir.Measure{
			{Name: "n", Kind: weir.Quantile, Field: "n"},
			{Name: "n", Kind: weir.Distinct, Field: "n"},
			{Name: "x", Kind: weir.Sum, Field: "x"},
		}}
}

func somePieces() []weir.Piece {
	const w = int64(10 * time.Second)
	return []weir.Piece{
		{Partition: "kafka:t:0", From: 0, To: 7, Log: "log", Watermark: math.MinInt64, Events: 6, Late: 1, Rejected: map[string]int64{"not_json": 1, "bad_time": 2}},
		{Partition: "kafka:t:0", From: 7, To: 9, Log: "log", Shift: -3, Watermark: 99, Idle: 1234, Events: 2, Cells: &weir.Cells{
			Width: w, Series: [][]string{{"a", ""}, {"a", "x"}, {"b", "é"}}, Starts: []int{0, 2, 3, 4},
			Window: []int64{-w, 5 * w, 2 * w, 0}, Count: []int64{1, 2, 3, 4},
			Measures: []weir.Column{
				{Present: true, Values: []int64{1, 0, 3, 4}, Sum: []float64{1, 0, math.Inf(1), -4}, Min: []float64{1, 0, 1, -1}, Max: []float64{1, 0, 2, 0}, Sketch: [][]byte{{1}, {}, {2, 3}, {4}}},
				{Present: true, Sketch: [][]byte{{9}, {8}, {}, {7}}},
				{},
			}}},
		{Partition: "kafka:t:1", Cells: &weir.Cells{Width: w, Series: [][]string{}, Starts: []int{0}, Window: []int64{}, Count: []int64{}, Measures: make([]weir.Column, 3)}},
	}
}

func TestPiecesRoundTrip(t *testing.T) {
	want := somePieces()
	got, complaint, err := decodePieces(appendPieces(nil, want, "half of it"), numbers())
	if err != nil || complaint != "half of it" {
		t.Fatalf("complaint %q, error %v", complaint, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever is cut off or changed on the way is noticed.
func TestDamagedPiecesAreRefused(t *testing.T) {
	good := appendPieces(nil, somePieces(), "")
	for n := range good {
		if _, _, err := decodePieces(good[:n], numbers()); err == nil {
			t.Fatalf("the first %d bytes are taken for all %d", n, len(good))
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x40
		if _, _, err := decodePieces(bad, numbers()); err == nil {
			t.Fatalf("a changed byte %d is not noticed", n)
		}
	}
}

// Bytes under a right checksum are not trusted either: what is accepted holds
// together, and is the same when it is sent on.
func FuzzDecodePieces(f *testing.F) {
	s := numbers()
	whole := appendPieces(nil, somePieces(), "")
	f.Add(whole[len(magic) : len(whole)-8])
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		pieces, complaint, err := decodePieces(seal(body), s)
		if err != nil {
			return
		}
		for i := range pieces {
			if c := pieces[i].Cells; c != nil {
				checkCells(t, c, s)
			}
		}
		again, told, err := decodePieces(appendPieces(nil, pieces, complaint), s)
		if err != nil || told != complaint || !bytes.Equal(canonical(again), canonical(pieces)) {
			t.Fatalf("sent on, it is something else: %v\n%s", err, cmp.Diff(pieces, again))
		}
	})
}

// canonical compares NaNs too, but not the order of reasons.
func canonical(pieces []weir.Piece) []byte {
	var b []byte
	for _, p := range pieces {
		p.Rejected = nil
		b = appendPiece(b, &p)
	}
	return b
}

func checkCells(t *testing.T, c *weir.Cells, s *weir.Stream) {
	rows := c.Rows()
	if len(c.Starts) != len(c.Series)+1 || c.Starts[len(c.Series)] != rows || len(c.Count) != rows || len(c.Measures) != len(s.Measures) {
		t.Fatalf("cells do not hold together: %+v", c)
	}
	for _, m := range c.Measures {
		if m.Values != nil && (len(m.Values) != rows || len(m.Sum) != rows || len(m.Min) != rows || len(m.Max) != rows) || m.Sketch != nil && len(m.Sketch) != rows {
			t.Fatalf("a column does not hold together: %+v", m)
		}
	}
}

// seal puts what surrounds an answer around its body.
func seal(body []byte) []byte {
	b := append([]byte(magic), body...)
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
}
