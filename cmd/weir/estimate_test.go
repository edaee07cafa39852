package main

import (
	"testing"

	"github.com/weir-stream/weir"
)

// A cell grows with its events until its sketches are full, and a stream with
// more measures has larger ones.
func TestCellBytes(t *testing.T) {
	c, err := weir.Parse("weir.yaml", []byte(`
streams:
  count: {}
  sum:
    measures: {x: {sum: x}}
  all:
    measures:
      x: {quantile: x, distinct: x, top: x, frequency: x}
      y: {quantile: x, sketch: ddsketch}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := cellBytes(c.Stream("count"), 100); got != 16 {
		t.Errorf("a cell that only counts has %d bytes, want 16", got)
	}
	if got := cellBytes(c.Stream("sum"), 100); got != 48 {
		t.Errorf("a cell that sums has %d bytes, want 48", got)
	}
	all := c.Stream("all")
	previous := 0
	for _, events := range []int{1, 10, 100, 1000} {
		got := cellBytes(all, events)
		t.Logf("%d events: %d bytes", events, got)
		if got <= previous {
			t.Errorf("%d events take %d bytes, fewer take %d", events, got, previous)
		}
		previous = got
	}
}
