package watch

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

// reading is what a series was in some windows.
type reading struct {
	by     []string
	values []float64 // by window; NaN if there is none though there were events
	events []float64
}

// nobody is live: what is watched is what is stored.
type nobody struct{}

func (nobody) Live(context.Context, string, weir.Selection) ([]weir.Piece, error) { return nil, nil }

// ask asks for expressions in n windows from start on, beside the number of
// events, which comes first.
func (d *definition) ask(ctx context.Context, f frozen, by []string, where query.Where, start int64, n int, of ...query.Expression) (*query.Answer, error) {
	count, err := query.ParseExpression("count")
	if err != nil {
		return nil, err
	}
	limits := limits
	if n > 1 {
		limits.Points = mostAnswered
	}
	answer, err := query.New([]query.Catalog{f}, nobody{}, query.Options{Limits: limits}).Query(ctx, query.Request{
		Stream: d.stream.Name, Select: append([]query.Expression{count}, of...), By: by, Where: where, Step: d.config.Window,
		From: query.At(time.Unix(0, start)), To: query.At(time.Unix(0, start+int64(n)*d.width))})
	if err != nil {
		return nil, fmt.Errorf("values of detector %s from %s on: %w", d.config.Name, time.Unix(0, start).UTC().Format(time.RFC3339), err)
	}
	return answer, nil
}

// limits bound what is asked of the engine: streams bound their series, and
// windows are asked for in bounded numbers. A single window is asked for with no
// bound but on memory.
var limits = query.Limits{Time: 10 * time.Minute, Cells: math.MaxInt32, Series: math.MaxInt32, Points: math.MaxInt32, Bytes: 1 << 30}

// values gives a detector's value in n windows from start on, of every series
// that has events in them, sorted by their dimension values.
func (d *definition) values(ctx context.Context, f frozen, start int64, n int, where query.Where) ([]reading, error) {
	of := []query.Expression{d.value}
	if d.over != nil {
		of = append(of, *d.over)
	}
	answer, err := d.ask(ctx, f, d.config.By, where, start, n, of...)
	if err != nil {
		return nil, err
	}
	out := make([]reading, 0, len(answer.Series))
	for _, s := range answer.Series {
		r := reading{by: s.By, values: s.Columns[1].Value, events: s.Columns[0].Value}
		if d.over != nil {
			r.values = make([]float64, len(r.events))
			for i := range r.values {
				r.values[i] = math.NaN()
				if by := s.Columns[2].Value[i]; by != 0 {
					r.values[i] = s.Columns[1].Value[i] / by
				}
			}
		}
		if len(r.values) != n || len(r.events) != n {
			return nil, fmt.Errorf("values of detector %s: %d windows were asked for, and %d answered", d.config.Name, n, len(r.values))
		}
		out = append(out, r)
	}
	return out, nil
}
