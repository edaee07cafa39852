package sketch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// number is a JSON number, or one of the words the reference data uses.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	x, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	*n = number(x)
	return err
}

type goldenEncoding struct {
	Bytes     int
	Hex       string
	Centroids [][2]number
	Quantile  [][2]number
	CDF       [][2]number
}

type golden struct {
	Name           string
	Input          string
	N              int
	Compression    float64
	Class          string
	Min, Max       number
	ExactQuantile  [][2]number `json:"exact_quantile"`
	Verbose, Small goldenEncoding
}

// goldens reads the answers of the Java reference, if they are there.
func goldens(t *testing.T) (sets []golden, dir string) {
	t.Helper()
	dir = filepath.Join("..", "..", "shared", "reference", "tdigest")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no data of the Java reference in %s beside the repository", dir)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		sets = append(sets, g)
	}
	return sets, dir
}

func near(a, b number, within float64) bool {
	x, y := float64(a), float64(b)
	return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= within*max(math.Abs(x), math.Abs(y), 1e-9)
}

func TestJavaEncodings(t *testing.T) {
	sets, _ := goldens(t)
	for _, g := range sets {
		for form, e := range map[string]goldenEncoding{"verbose": g.Verbose, "small": g.Small} {
			t.Run(g.Name+"/"+form, func(t *testing.T) {
				data, err := hex.DecodeString(e.Hex)
				if err != nil || len(data) != e.Bytes {
					t.Fatalf("%d bytes of hex, not %d: %v", len(data), e.Bytes, err)
				}
				d, err := DecodeJava(data)
				if err != nil {
					t.Fatal(err)
				}
				if d.AVL != strings.Contains(g.Class, "AVL") {
					t.Errorf("taken for AVL: %v, class %q", d.AVL, g.Class)
				}
				if len(d.Centroids) != len(e.Centroids) {
					t.Fatalf("%d centroids, not %d", len(d.Centroids), len(e.Centroids))
				}
				for i, c := range d.Centroids {
					if w := e.Centroids[i]; !near(number(c.Mean), w[0], 1e-12) || number(c.Weight) != w[1] {
						t.Errorf("centroid %d is %v, not %v", i, c, w)
					}
				}
				again := d.AppendVerbose(nil)
				if form == "small" {
					if again, err = d.AppendSmall(nil); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(again, data) {
					t.Errorf("encoded again it differs:\n%x\n%x", again, data)
				}
				for _, a := range e.Quantile {
					if is := number(d.Quantile(float64(a[0]))); !near(is, a[1], 1e-9) {
						t.Errorf("quantile %v is %v, the reference says %v", a[0], is, a[1])
					}
				}
				for _, a := range e.CDF {
					if is := number(d.Rank(float64(a[0]))); !near(is, a[1], 1e-9) {
						t.Errorf("rank of %v is %v, the reference says %v", a[0], is, a[1])
					}
				}
			})
		}
	}
}

// TestJavaAsOurs makes digests of ours of the reference's, and of its inputs,
// and holds both against the truth.
func TestJavaAsOurs(t *testing.T) {
	sets, dir := goldens(t)
	for _, g := range sets {
		t.Run(g.Name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, g.Input))
			if err != nil {
				t.Fatal(err)
			}
			values := make([]float64, len(raw)/8)
			for i := range values {
				values[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
			}
			data, _ := hex.DecodeString(g.Verbose.Hex)
			read, err := DecodeJava(data)
			if err != nil {
				t.Fatal(err)
			}
			theirs := read.TDigest()
			if len(values) == 0 {
				if theirs.Count() != 0 || !math.IsNaN(theirs.Quantile(0.5, 0.95).Value) {
					t.Errorf("empty, but %v", theirs)
				}
				return
			}
			ours := NewTDigest(g.Compression)
			ours.AddValues(slices.Clone(values))
			slices.Sort(values)
			for name, d := range map[string]*TDigest{"theirs": theirs, "ours": ours} {
				if int(d.Count()) != len(values) || d.Min() != values[0] || d.Max() != values[len(values)-1] {
					t.Errorf("%s: %v of %d values from %g to %g", name, d, len(values), values[0], values[len(values)-1])
				}
				for _, q := range []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1} {
					e := d.Quantile(q, 0.95)
					below, _ := slices.BinarySearch(values, e.Value)
					atMost, _ := slices.BinarySearch(values, math.Nextafter(e.Value, math.Inf(1)))
					off := max(float64(below)/float64(len(values))-q, q-float64(atMost)/float64(len(values)), 0)
					limit := 0.01 // the reference's digests are coarse in the middle: k2
					if name == "ours" {
						limit = 0.005
					}
					if strings.HasPrefix(g.Name, "few_distinct") && name == "theirs" {
						limit = 0.05 // half of the values of a centroid are another one
					}
					if off > limit {
						t.Errorf("%s: p%g is %v, off by %.3f of rank", name, 100*q, e, off)
					}
				}
			}
			back := ours.Java()
			if again, err := DecodeJava(back.AppendVerbose(nil)); err != nil || again.Count() != float64(len(values)) {
				t.Errorf("ours as verbose bytes: %v, %v", again, err)
			}
			small, err := back.AppendSmall(nil)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := DecodeJava(small); err != nil || again.Count() != float64(len(values)) {
				t.Errorf("ours as small bytes: %v, %v", again, err)
			}
		})
	}
}
