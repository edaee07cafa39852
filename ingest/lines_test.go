package ingest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"
)

// choppyReader returns between nothing and n bytes at a time.
type choppyReader struct {
	r   io.Reader
	rng *rand.Rand
	n   int
}

func (c choppyReader) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), c.rng.IntN(c.n+1))])
}

// Whatever the reader's blocks, every line comes once and whole, an overlong
// one by its beginning, and the offsets and tails are those of the input.
func TestLineReader(t *testing.T) {
	rng := random(t)
	for range 300 {
		maxLine := 1 + rng.IntN(2000)
		var input []byte
		var want [][]byte
		for range rng.IntN(60) {
			n := rng.IntN(1 + rng.IntN(1+2*maxLine))
			line := make([]byte, n)
			for i := range line {
				line[i] = byte('a' + rng.IntN(26))
			}
			input = append(append(input, line...), '\n')
			want = append(want, line)
		}
		pending := rng.IntN(2 * maxLine)
		input = append(input, bytes.Repeat([]byte("p"), pending)...)
		l := lineReader{r: choppyReader{bytes.NewReader(input), rng, 1 + rng.IntN(3000)}, maxLine: maxLine, eager: rng.IntN(2) == 0}
		var got [][]byte
		at := int64(0)
		buf := make([]byte, 0, 1+rng.IntN(100))
		for {
			lines, consumed, err := l.next(buf)
			if len(lines) > 0 {
				at += consumed
				if from := max(0, at-tailBytes); !bytes.Equal(l.tail(), hashed(input[from:at])) {
					t.Fatalf("at %d the tail is not that of the input", at)
				}
				if int64(len(lines)) != consumed && bytes.Count(lines, []byte("\n")) != 1 {
					t.Fatalf("an overlong line came with %d others", bytes.Count(lines, []byte("\n"))-1)
				}
				for line := range bytes.Lines(lines) {
					got = append(got, bytes.Clone(bytes.TrimSuffix(line, []byte("\n"))))
				}
				buf = lines[:0]
			}
			if errors.Is(err, io.EOF) && len(lines) == 0 {
				break
			}
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if at != int64(len(input)-pending) || l.pending() != int64(pending) {
			t.Fatalf("read to %d with %d pending, want %d with %d", at, l.pending(), len(input)-pending, pending)
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range want {
			if len(got[i]) > maxLine { // of an overlong line only its beginning need be there
				if len(want[i]) <= maxLine || !bytes.HasPrefix(want[i], got[i]) {
					t.Fatalf("line %d is %q, want %q", i, got[i], want[i])
				}
			} else if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("line %d is %q, want %q", i, got[i], want[i])
			}
		}
	}
}

func hashed(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	sum := xxh3.Hash128(b).Bytes()
	return sum[:]
}
