package store

import (
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go/format"
	"github.com/weir-stream/weir"
)

// role is what a column holds.
type role uint8

const (
	roleWindow role = iota
	roleDimension
	roleCount
	roleValues // of a numeric measure, like the next three
	roleSum
	roleMin
	roleMax
	roleSketch
	roleP50
	roleP99
	roleDistinct
)

// column is one column of a segment. Its position among the columns, not its
// name, is how we find it again.
type column struct {
	name  string
	role  role
	index int // of the dimension or measure
	codec format.CompressionCodec
}

func (c *column) physical() format.Type {
	switch c.role {
	case roleWindow, roleCount, roleValues:
		return format.Int64
	case roleDimension, roleSketch:
		return format.ByteArray
	default:
		return format.Double
	}
}

// columnsOf lays out the columns of a definition.
func columnsOf(d *Definition) []column {
	var (
		columns []column
		taken   = make(map[string]bool)
	)
	add := func(name string, role role, index int, codec format.CompressionCodec) {
		// Some tools do not tell Origin from origin.
		for taken[strings.ToLower(name)] {
			name += "_"
		}
		taken[strings.ToLower(name)] = true
		columns = append(columns, column{name: name, role: role, index: index, codec: codec})
	}
	add("window", roleWindow, 0, format.Uncompressed)
	taken["count"] = true // a dimension of that name gives way
	for i, dim := range d.Dimensions {
		add(columnName(dim.Name), roleDimension, i, format.Uncompressed)
	}
	delete(taken, "count")
	add("count", roleCount, 0, format.Uncompressed)
	for i, m := range d.Measures {
		name := columnName(m.Name)
		if m.Kind.Numeric() {
			add(name+"_count", roleValues, i, format.Uncompressed)
			add(name+"_sum", roleSum, i, format.Uncompressed)
			add(name+"_min", roleMin, i, format.Uncompressed)
			add(name+"_max", roleMax, i, format.Uncompressed)
		}
		switch m.Kind {
		case weir.Quantile:
			add(name+"_"+m.Params.Sketch, roleSketch, i, format.Uncompressed)
			add(name+"_p50", roleP50, i, format.Uncompressed)
			add(name+"_p99", roleP99, i, format.Uncompressed)
		case weir.Distinct:
			add(name+"_hll", roleSketch, i, format.Uncompressed)
			add(name+"_distinct", roleDistinct, i, format.Uncompressed)
		case weir.Top:
			// Items are text that repeats from cell to cell, and half of a
			// segment. The other sketches hardly shrink, and would cost more time
			// to read than they save.
			add(name+"_top", roleSketch, i, format.Zstd)
		case weir.Frequency:
			add(name+"_frequency", roleSketch, i, format.Uncompressed)
		}
	}
	return columns
}

// columnName makes a name that every tool can write without quoting.
func columnName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_') {
			b[i] = '_'
		}
	}
	if len(b) == 0 || '0' <= b[0] && b[0] <= '9' {
		b = append([]byte{'_'}, b...)
	}
	return string(b)
}

func (c *column) String() string { return fmt.Sprintf("column %s", c.name) }
