package query

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"time"
)

// WriteCSV writes one row a series and point: the dimensions grouped by, t, and
// each column, followed by its _lower and _upper if it is an estimate. A value
// that is not there is empty. A list (top, histogram) is the JSON that WriteJSON
// writes, in one field: rows keep meaning one point each.
func (a *Answer) WriteCSV(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 32<<10)
	out := csv.NewWriter(buffered)
	if len(a.Series) == 0 {
		out.Write(append(append([]string(nil), a.By...), "t")) // the error, if any, is kept for Flush
	}
	for i := range a.Series {
		s := &a.Series[i]
		if i == 0 {
			out.Write(a.csvHeader(s))
		}
		var row []string
		for point, t := range s.T {
			row = append(row[:0], s.By...)
			row = append(row, time.Unix(0, t).UTC().Format(time.RFC3339Nano))
			for j := range s.Columns {
				row = s.Columns[j].appendFields(row, point)
			}
			out.Write(row)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return buffered.Flush()
}

func (a *Answer) csvHeader(s *Series) []string {
	header := append(append([]string(nil), a.By...), "t")
	for i := range s.Columns {
		c := &s.Columns[i]
		header = append(header, c.Name)
		if c.Lower != nil {
			header = append(header, c.Name+"_lower", c.Name+"_upper")
		}
	}
	return header
}

func (c *Column) appendFields(row []string, point int) []string {
	switch {
	case c.Items != nil:
		return append(row, string(appendList(nil, c.Items[point], appendItem)))
	case c.Bins != nil:
		return append(row, string(appendList(nil, c.Bins[point], appendBin)))
	case c.Lower != nil:
		e := c.At(point)
		return append(row, csvNumber(e.Value), csvNumber(e.Lower), csvNumber(e.Upper))
	}
	return append(row, csvNumber(c.Value[point]))
}

func csvNumber(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return string(appendNumber(nil, x))
}
