package anomaly

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
)

// The encoding of a detector's state, version 1:
//
//	kind   1 byte    which detector
//	1      1 byte    version
//	config 8 bytes   hash of the configuration
//	fields …         in the order of the detector's fields method, little endian
//	crc    4 bytes   CRC-32C of all before
//
// A fields method names every field once, for both directions; no number that
// is not finite is ever part of a state.
const stateVersion = 1

// Kinds of detector, as encoded. Numbers are never used again for another.
const (
	kindSeasonal = iota + 1
	kindBreakout
	kindThreshold
	kindRate
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codec appends fields to out or, when reading, takes them from in.
type codec struct {
	out     []byte
	in      []byte
	reading bool
	bad     bool
}

func (c *codec) f64(fields ...*float64) {
	for _, f := range fields {
		u := math.Float64bits(*f)
		c.u64(&u)
		if c.reading {
			*f = math.Float64frombits(u)
			if math.IsNaN(*f) || math.IsInf(*f, 0) {
				c.bad, *f = true, 0
			}
		}
	}
}

func (c *codec) u64(u *uint64) {
	switch {
	case !c.reading:
		c.out = binary.LittleEndian.AppendUint64(c.out, *u)
	case len(c.in) < 8:
		c.bad, *u = true, 0
	default:
		*u, c.in = binary.LittleEndian.Uint64(c.in), c.in[8:]
	}
}

func (c *codec) i64(fields ...*int64) {
	for _, f := range fields {
		u := uint64(*f)
		c.u64(&u)
		*f = int64(u)
	}
}

// within takes an integer that has to lie in [low, high].
func (c *codec) within(n *int, low, high int) {
	v := int64(*n)
	c.i64(&v)
	if c.reading && (v < int64(low) || v > int64(high)) {
		c.bad, v = true, int64(low)
	}
	*n = int(v)
}

func (c *codec) bool(b *bool) {
	n := 0
	if *b {
		n = 1
	}
	c.within(&n, 0, 1)
	*b = n == 1
}

func (c *codec) f32(values []float32) {
	if !c.reading {
		for _, v := range values {
			c.out = binary.LittleEndian.AppendUint32(c.out, math.Float32bits(v))
		}
		return
	}
	if len(c.in) < 4*len(values) {
		c.bad = true
		return
	}
	for i := range values {
		v := math.Float32frombits(binary.LittleEndian.Uint32(c.in[4*i:]))
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			c.bad, v = true, 0
		}
		values[i] = v
	}
	c.in = c.in[4*len(values):]
}

func (c *codec) bytes(values []byte) {
	switch {
	case !c.reading:
		c.out = append(c.out, values...)
	case len(c.in) < len(values):
		c.bad = true
	default:
		c.in = c.in[copy(values, c.in):]
	}
}

// fingerprint is a hash of a configuration, which states are bound to.
func fingerprint(config any) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%+v", config)
	return h.Sum64()
}

// appendState appends a state of a kind and a configuration to dst.
func appendState(dst []byte, kind byte, config uint64, fields func(*codec)) []byte {
	start := len(dst)
	c := codec{out: append(dst, kind, stateVersion)}
	c.u64(&config)
	fields(&c)
	return append(c.out[:start], sealed(c.out[start:])...)
}

// sealed appends its checksum to a state.
func sealed(state []byte) []byte {
	return binary.LittleEndian.AppendUint32(state, crc32.Checksum(state, castagnoli))
}

// readState reads what appendState wrote.
func readState(data []byte, kind byte, config uint64, fields func(*codec)) error {
	if len(data) < 14 {
		return fmt.Errorf("decode detector: %w: %d bytes", ErrState, len(data))
	}
	body, sum := data[:len(data)-4], binary.LittleEndian.Uint32(data[len(data)-4:])
	switch {
	case crc32.Checksum(body, castagnoli) != sum:
		return fmt.Errorf("decode detector: %w: checksum differs", ErrState)
	case body[0] != kind:
		return fmt.Errorf("decode detector: %w: kind %d, want %d", ErrState, body[0], kind)
	case body[1] != stateVersion:
		return fmt.Errorf("decode detector: %w: version %d, want %d", ErrState, body[1], stateVersion)
	}
	c := codec{in: body[2:], reading: true}
	var of uint64
	if c.u64(&of); of != config {
		return fmt.Errorf("decode detector: %w: of another configuration", ErrState)
	}
	fields(&c)
	if c.bad || len(c.in) != 0 {
		return fmt.Errorf("decode detector: %w: fields out of range", ErrState)
	}
	return nil
}
