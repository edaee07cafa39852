package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/sketch"
)

// UnmarshalJSON reads what WriteJSON wrote, so that a client can show an answer
// as the server would. The order of columns and dimensions is kept.
func (a *Answer) UnmarshalJSON(data []byte) error {
	var wire struct {
		Stream       string
		From, To     time.Time
		Step, Window string
		Confidence   float64
		Watermark    *time.Time
		Complete     bool
		Notes        []string
		Offsets      map[string]int64
		Late         int64
		Rejected     map[string]int64
		Series       []struct {
			By     ordered[string]
			T      []time.Time
			Values ordered[wireColumn]
		}
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	*a = Answer{
		Stream: wire.Stream, From: wire.From, To: wire.To, Confidence: wire.Confidence, Complete: wire.Complete,
		Notes: wire.Notes, Offsets: wire.Offsets, Late: wire.Late, Rejected: wire.Rejected,
	}
	if wire.Watermark != nil {
		a.Watermark = *wire.Watermark
	}
	for param, d := range map[string]*time.Duration{"step": &a.Step, "window": &a.Window} {
		text := wire.Step
		if param == "window" {
			text = wire.Window
		}
		var err error
		if *d, err = parseOptionalDuration(param, text); err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
	}
	for i, from := range wire.Series {
		if i == 0 {
			a.By = from.By.names
		}
		if len(from.By.names) != len(a.By) {
			return errors.New("read an answer: its series are grouped by different dimensions")
		}
		s := Series{By: from.By.values, T: make([]int64, len(from.T))}
		for j, t := range from.T {
			s.T[j] = t.UnixNano()
		}
		for j, name := range from.Values.names {
			c, err := from.Values.values[j].column(name, len(s.T))
			if err != nil {
				return fmt.Errorf("read an answer: %w", err)
			}
			s.Columns = append(s.Columns, c)
		}
		a.Series = append(a.Series, s)
	}
	return nil
}

// wireColumn is a column as JSON has it. What its value holds is known by
// looking at the first element.
type wireColumn struct {
	Value        []json.RawMessage
	Lower, Upper []*float64
}

func (w wireColumn) column(name string, points int) (Column, error) {
	c := Column{Name: name}
	if len(w.Value) != points || w.Lower != nil && (len(w.Lower) != points || len(w.Upper) != points) {
		return c, fmt.Errorf("column %q has %d values at %d points", name, len(w.Value), points)
	}
	if len(w.Value) > 0 && bytes.HasPrefix(bytes.TrimSpace(w.Value[0]), []byte("[")) {
		return c, w.lists(&c)
	}
	c.Value = make([]float64, points)
	for i, raw := range w.Value {
		var x *float64
		if err := json.Unmarshal(raw, &x); err != nil {
			return c, fmt.Errorf("column %q: %w", name, err)
		}
		c.Value[i] = orNaN(x)
	}
	if w.Lower != nil {
		c.Lower, c.Upper = make([]float64, points), make([]float64, points)
		for i := range points {
			c.Lower[i], c.Upper[i] = orNaN(w.Lower[i]), orNaN(w.Upper[i])
		}
	}
	return c, nil
}

func (w wireColumn) lists(c *Column) error {
	e, err := ParseExpression(c.Name)
	if err != nil {
		return err
	}
	items, bins := make([][]sketch.TopItem, len(w.Value)), make([][]sketch.Bin, len(w.Value))
	for i, raw := range w.Value {
		var into any = &items[i]
		if e.Function == Histogram {
			into = &bins[i]
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
	}
	if e.Function == Histogram {
		c.Bins = bins
	} else {
		c.Items = items
	}
	return nil
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// ordered is a JSON object whose members keep their order.
type ordered[T any] struct {
	names  []string
	values []T
}

func (o *ordered[T]) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("an object should stand at %.30q", data)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value T
		if err := d.Decode(&value); err != nil {
			return err
		}
		o.names = append(o.names, name.(string))
		o.values = append(o.values, value)
	}
	return nil
}
