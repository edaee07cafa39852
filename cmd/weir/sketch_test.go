package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/sketch"
)

// sketchFiles writes a thousand values as each encoding that can be read.
func sketchFiles(t *testing.T) map[string]string {
	t.Helper()
	digest, dd, distinct := sketch.NewTDigest(100), sketch.NewDDSketch(5), sketch.NewHLL(14, 0)
	for i := range 1000 {
		digest.Add(float64(i + 1))
		dd.Add(float64(i + 1))
		distinct.AddHash(sketch.Hash(0, []byte{byte(i), byte(i >> 8)}))
	}
	small, err := digest.Java().AppendSmall(nil)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for name, data := range map[string][]byte{
		"tdigest": digest.AppendBinary(nil), "ddsketch": dd.AppendBinary(nil), "hll": distinct.AppendBinary(nil),
		"java-verbose": digest.Java().AppendVerbose(nil), "java-small": small, "junk": []byte("no sketch at all, but some bytes of text"),
	} {
		files[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(files[name], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestSketchAnswers(t *testing.T) {
	files := sketchFiles(t)
	ask := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(args, strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
	for _, name := range []string{"tdigest", "ddsketch", "java-verbose", "java-small"} {
		for _, how := range []string{"ours", "reference"} {
			if name == "ddsketch" && how == "reference" {
				continue
			}
			for command, want := range map[string][]float64{"quantile --q 0,0.5,0.99,1": {1, 500.5, 990.01, 1000}, "rank --x -5,250,5000": {0, 0.25, 1}} {
				args := append([]string{"sketch"}, strings.Fields(command)...)
				code, out, errs := ask(append(args, "--interpolation", how, "-o", "json", files[name])...)
				var got struct{ Value []float64 }
				if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || len(got.Value) != len(want) {
					t.Fatalf("%s %s %s: exit %d, %v: %s%s", name, how, command, code, err, out, errs)
				}
				for i := range want {
					if math.Abs(got.Value[i]-want[i]) > 0.02*math.Abs(want[i])+1e-9 {
						t.Errorf("%s %s %s: %v, want about %v", name, how, command, got.Value, want)
					}
				}
			}
		}
		if code, out, _ := ask("sketch", "quantile", "--q", "0.5", files[name]); code != 0 || !strings.HasPrefix(out, "q = 0.5 ") || !strings.Contains(out, "[") {
			t.Errorf("%s as a table: exit %d: %s", name, code, out)
		}
		if code, out, errs := ask("inspect", files[name]); code != 0 || !strings.Contains(out, "p99 ") {
			t.Errorf("inspect %s: exit %d: %s%s", name, code, out, errs)
		}
	}
	for want, args := range map[string][]string{
		"the 99th percentile is 0.99":  {"quantile", "--q", "99", files["tdigest"]},
		"is no number":                 {"quantile", "--q", "0.5,half", files["tdigest"]},
		"knows nothing of quantiles":   {"quantile", "--q", "0.5", files["hll"]},
		"holds another sketch":         {"rank", "--x", "1", "--interpolation", "reference", files["ddsketch"]},
		"neither ours nor reference":   {"rank", "--x", "1", "--interpolation", "java", files["tdigest"]},
		"junk: decode sketch":          {"rank", "--x", "1", files["junk"]},
		"no such file":                 {"rank", "--x", "1", files["junk"] + "2"},
		`required flag(s) "q" not set`: {"quantile", files["tdigest"]},
		"neither table nor json":       {"quantile", "--q", "0.5", "-o", "xml", files["tdigest"]},
	} {
		if code, _, errs := ask(append([]string{"sketch"}, args...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit %d: %q, want it to say %q", args, code, errs, want)
		}
	}
}
