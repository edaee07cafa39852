package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The answers of the package. Its approximate form (exact = FALSE) is not here.
func TestEDivisiveReference(t *testing.T) {
	var index struct {
		Cases []struct {
			ID, Input string
			Params    struct {
				MinSize *int `json:"min.size"`
				Method  string
				Beta    *float64
				Percent *float64
				Degree  *int
				Exact   *bool
				Perm    int `json:"nperm"`
			}
			Answer struct {
				Loc  []int
				Stat *float64
			} `json:"expected"`
			Refusal string `json:"expected_error"`
		}
	}
	referenceIndex(t, "breakout_index.json", &index)
	agree, approximate := 0, 0
	for _, c := range index.Cases {
		if c.Params.Exact != nil && !*c.Params.Exact {
			approximate++
			continue
		}
		_, y := referenceSeries(t, c.Input)
		e := EDivisive{Permutations: c.Params.Perm, Seed: 1}
		if c.Params.MinSize != nil {
			e.MinSize = *c.Params.MinSize
		}
		degree := 1
		if c.Params.Degree != nil {
			degree = *c.Params.Degree
		}
		switch {
		case c.Params.Beta != nil:
			e.Penalty = BetaPenalty(*c.Params.Beta, degree)
		case c.Params.Percent != nil:
			e.Penalty = PercentPenalty(*c.Params.Percent, degree)
		}
		var got []int
		var stat float64
		var err error
		if c.Params.Method == "multi" {
			got, err = e.Multi(y)
		} else {
			var change Change
			change, err = e.AtMostOne(y)
			stat = change.Stat
			// A series too short has its place at 0 in the package; a change withdrawn
			// has none.
			if change.At > 0 || change.Stat == -3 {
				got = []int{change.At}
			}
		}
		switch {
		case (err != nil) != (c.Refusal != ""):
			t.Errorf("%s: error %v, want %q", c.ID, err, c.Refusal)
		case !slices.Equal(got, c.Answer.Loc):
			t.Errorf("%s: found %v, want %v", c.ID, got, c.Answer.Loc)
		case c.Answer.Stat != nil && math.Abs(stat-*c.Answer.Stat) > 1e-12*math.Abs(stat):
			t.Errorf("%s: statistic %v, want %v", c.ID, stat, *c.Answer.Stat)
		default:
			agree++
		}
	}
	t.Logf("%d of %d cases agree; %d are of the approximate form, which is left out", agree, len(index.Cases)-approximate, approximate)
}

// Medians off the shrinking list are those of the sorted segments.
func TestMedians(t *testing.T) {
	random := seeded(t)
	for range 100 {
		y := make([]float64, 1+random.IntN(30))
		for i := range y {
			y[i] = float64(random.IntN(8))
		}
		m := newMedians(y)
		for from := 0; from < len(y); from += 1 + random.IntN(3) {
			got := m.from(from)
			for to := from + 1; to <= len(y); to++ {
				if want := medianOf(slices.Clone(y[from:to])); got[to] != want {
					t.Fatalf("median of %v is %v, want %v", y[from:to], got[to], want)
				}
			}
		}
	}
}

// levels is a series of noise around levels that change.
func levels(random *rand.Rand, size int, level ...float64) []float64 {
	var y []float64
	for _, l := range level {
		for range size {
			y = append(y, l+random.NormFloat64())
		}
	}
	return y
}

// Where the level changes is found, near enough, and nothing else.
func TestEDivisiveFinds(t *testing.T) {
	random := seeded(t)
	y := levels(random, 100, 0, 8, 3, 11)
	for _, i := range []int{30, 150, 151, 230, 390} {
		y[i] = 20 // outliers within the range do not matter
	}
	got, err := EDivisive{}.Multi(y)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("changes at %v, want about 100, 200 and 300", got)
	}
	for i, at := range got {
		if want := 100 * (i + 1); at < want-20 || at > want+20 {
			t.Errorf("changes at %v, want about 100, 200 and 300", got)
		}
	}
}

// Scaling and shifting a series moves no change.
func TestEDivisiveInvariant(t *testing.T) {
	random := seeded(t)
	for range 20 {
		y := levels(random, 40, 0, 2, 1, 3)
		e := EDivisive{MinSize: 20, Penalty: BetaPenalty(0.002, 1), Permutations: 19}
		changes, err := e.Multi(y)
		if err != nil {
			t.Fatal(err)
		}
		one, err := e.AtMostOne(y)
		if err != nil {
			t.Fatal(err)
		}
		moved := slices.Clone(y)
		for i := range moved {
			moved[i] = -512 + 0.25*moved[i]
		}
		if got, err := e.Multi(moved); err != nil || !slices.Equal(got, changes) {
			t.Errorf("moved and scaled, the changes %v are %v, error %v", changes, got, err)
		}
		if got, err := e.AtMostOne(moved); err != nil || got.At != one.At || got.P != one.P || math.Abs(got.Stat-one.Stat) > 1e-9 {
			t.Errorf("moved and scaled, the change %+v is %+v, error %v", one, got, err)
		}
	}
}

// In noise a change is significant as seldom as was asked for, and the same
// seed says the same.
func TestEDivisivePermutations(t *testing.T) {
	random := seeded(t)
	significant := 0
	const rounds = 300
	for range rounds {
		e := EDivisive{MinSize: 5, Permutations: 39, Level: 0.1, Seed: random.Uint64()}
		y := levels(random, 40, 0)
		c, err := e.AtMostOne(y)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := e.AtMostOne(y); again != c {
			t.Fatalf("the same seed gives %+v and %+v", c, again)
		}
		if c.At > 0 {
			significant++
		}
	}
	if share := float64(significant) / rounds; share < 0.03 || share > 0.18 {
		t.Errorf("a change in %.2f of the noise, want about 0.1", share)
	}
	if c, err := (EDivisive{MinSize: 5, Permutations: 99}).AtMostOne(levels(random, 30, 0, 6)); err != nil || c.At < 20 || c.At > 40 {
		t.Errorf("change %+v, error %v, want one about 30", c, err)
	}
}

// Series too small or without any change have none; values that are none are
// named.
func TestEDivisiveEdges(t *testing.T) {
	seven := []float64{7, 7, 7, 7, 7, 7, 7, 7}
	for _, y := range [][]float64{nil, {1}, {1, 2, 3}, seven} {
		for _, penalty := range []Penalty{{}, BetaPenalty(0, 0), PercentPenalty(0.1, 2)} {
			if got, err := (EDivisive{MinSize: 2, Penalty: penalty}).Multi(y); err != nil || got != nil {
				t.Errorf("changes %v of %v, error %v", got, y, err)
			}
		}
	}
	if c, err := (EDivisive{MinSize: 2}).AtMostOne(nil); err != nil || c.At != 0 || c.Stat != -3 {
		t.Errorf("change %+v of nothing, error %v", c, err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		y := append(slices.Clone(seven), bad)
		_, err := EDivisive{MinSize: 2}.Multi(y)
		if at := (*ObservationError)(nil); !errors.As(err, &at) || at.Index != 8 {
			t.Errorf("%v: error %v", bad, err)
		}
	}
	for _, e := range []EDivisive{
		{MinSize: 1},
		{MinSize: -3},
		{Penalty: BetaPenalty(-1, 1)},
		{Penalty: BetaPenalty(math.NaN(), 1)},
		{Penalty: PercentPenalty(0.1, 3)},
		{Permutations: -1},
		{Level: 2},
	} {
		if _, err := e.Multi(seven); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
	// What is too large for a difference still has a place.
	huge := []float64{-1e308, -1e308, -1e308, 1e308, 1e308, 1e308}
	if got, err := (EDivisive{MinSize: 2}).Multi(huge); err != nil || !slices.Equal(got, []int{3}) {
		t.Errorf("changes %v of %v, error %v", got, huge, err)
	}
}
