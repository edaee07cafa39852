package chaos

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// The judge says nothing of right answers, and finds each kind of wrong one.
func TestJudge(t *testing.T) {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	var far truth
	for n := range int64(20_000) {
		at := began.Add(time.Duration(n)*time.Millisecond - time.Duration(n*7919%3000)*time.Millisecond)
		far.partitions[n/keys%partitions].add(n, at.UnixMilli())
	}
	end := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	full := map[string]int64{}
	for p := range far.partitions {
		full[fmt.Sprint("kafka:numbers:", p)] = int64(len(far.partitions[p].events))
	}
	half := maps.Clone(full)
	for p := range half {
		half[p] /= 2
	}
	right := func(offsets map[string]int64, to time.Time) *answer {
		sum, known, err := far.at(offsets, to)
		if err != nil || !known {
			t.Fatalf("what lies below %v: known %v, %v", offsets, known, err)
		}
		a := &answer{life: 1, To: to, Offsets: offsets}
		a.set(sum)
		return a
	}
	early := began.Add(4 * time.Second) // all before it lies within the first half
	oneMore := func(a *answer) *answer {
		sum, _ := a.totals()
		sum[3].add(17, 1)
		a.set(sum)
		return a
	}
	for name, c := range map[string]struct {
		answers []*answer
		wrong   string
	}{
		"half, then all":         {[]*answer{right(half, end), right(full, end)}, ""},
		"up to a time":           {[]*answer{right(half, early), right(full, early)}, ""},
		"complete":               {[]*answer{complete(right(half, early))}, ""},
		"one event more":         {[]*answer{oneMore(right(full, end))}, "below its offsets lie"},
		"one more up to a time":  {[]*answer{oneMore(right(half, early))}, "below its offsets lie"},
		"offsets that lie":       {[]*answer{{life: 1, To: end, Offsets: full, Series: right(half, end).Series}}, "below its offsets lie"},
		"never produced":         {[]*answer{{life: 1, To: end, Offsets: map[string]int64{"kafka:numbers:0": 1_000_000}}}, "under way"},
		"of no partition":        {[]*answer{{life: 1, To: end, Offsets: map[string]int64{"kafka:numbers:6": 1}}}, "none of the topic's"},
		"complete, not all":      {[]*answer{complete(right(half, began.Add(15*time.Second)))}, "is complete, and"},
		"falls silently":         {[]*answer{right(full, end), right(half, end)}, "does not say so"},
		"falls, and says so":     {[]*answer{right(full, end), admitting(right(half, end), full)}, ""},
		"falls, and is complete": {[]*answer{right(full, end), complete(admitting(right(half, early), full))}, "does not say so"},
		"another process":        {[]*answer{right(full, end), of(2, right(half, end))}, ""},
		"a key twice":            {[]*answer{twice(right(full, end))}, "a series of key"},
		"rejected":               {[]*answer{rejecting(right(full, end))}, "rejects"},
	} {
		var said strings.Builder
		j := newJudge(&far, new(findings), func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) })
		for _, a := range c.answers {
			copied := *a
			j.hear(&copied)
		}
		j.finish()
		if got := said.String(); !strings.Contains(got, c.wrong) || c.wrong == "" && got != "" {
			t.Errorf("%s: the judge says %q, want %q", name, got, c.wrong)
		}
	}
}

// A complete answer may lack an event only if that was under way for longer than
// the lateness, and lies behind what the answer has reached.
func TestJudgeOfLateEvents(t *testing.T) {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	for took, want := range map[time.Duration]string{time.Second: "is complete, and", time.Minute: ""} {
		far := truth{lateness: 10 * time.Second}
		for offset, n := range []int64{5, 12} {
			far.sent(0, began)
			far.stored(0, int64(offset), n, began.UnixMilli(), began.Add(time.Duration(offset)*took), nil)
		}
		a := complete(&answer{life: 1, To: began.Add(time.Second), Offsets: map[string]int64{"kafka:numbers:0": 1}})
		a.set(perKey{5: {1, 5}})
		var said strings.Builder
		j := newJudge(&far, new(findings), func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) })
		j.hear(a)
		if got := said.String(); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("an event that took %v: the judge says %q, want %q", took, got, want)
		}
	}
}

// An answer may know of an event before its producer does: it waits to be judged.
func TestJudgeWaits(t *testing.T) {
	var far truth
	now := time.Now()
	far.sent(0, now)
	a := &answer{life: 1, To: now.Add(time.Hour), Offsets: map[string]int64{"kafka:numbers:0": 1}}
	a.set(perKey{5: {1, 5}})
	var said strings.Builder
	j := newJudge(&far, new(findings), func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) })
	j.hear(a)
	if len(j.waiting) != 1 || said.Len() > 0 {
		t.Errorf("%d answers wait; the judge says %q", len(j.waiting), &said)
	}
	far.stored(0, 0, 5, now.UnixMilli(), time.Now(), nil)
	j.finish()
	if len(j.waiting) != 0 || said.Len() > 0 || j.found.answers != 1 {
		t.Errorf("%d answers wait, %d are judged; the judge says %q", len(j.waiting), j.found.answers, &said)
	}
}

// set makes the answer that of the totals.
func (a *answer) set(sum perKey) {
	a.Series = nil
	for k, of := range sum {
		a.Series = append(a.Series, series{By: map[string]string{"key": fmt.Sprint("k", k)}, Values: map[string]estimates{
			"count": {Value: []float64{float64(of.count)}}, "n.sum": {Value: []float64{float64(of.sum)}}}})
	}
}

func complete(a *answer) *answer {
	a.Complete = true
	return a
}

func admitting(a *answer, shown map[string]int64) *answer {
	for p, offset := range shown {
		a.Notes = append(a.Notes, fmt.Sprintf("partition %s was answered for up to offset %d before; its events from 0 on are being read again", p, offset))
	}
	return a
}

func of(life int64, a *answer) *answer {
	a.life = life
	return a
}

func twice(a *answer) *answer {
	a.Series = append(a.Series, a.Series[0])
	return a
}

func rejecting(a *answer) *answer {
	a.Rejected = map[string]int64{"not json": 1}
	return a
}
