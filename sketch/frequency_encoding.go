package sketch

import (
	"encoding/binary"
	"slices"
)

// The encoding of a Frequency, canonical while exact:
//
//	'F' | version, form | width bits byte | depth byte | hash id byte | seed uvarint
//	    | n uvarint | n × key, 6 bytes, ascending | payload | checksum
//
//	form 1, exact   n × count uvarint
//	form 2, rows    n × (lower uvarint, upper-lower uvarint)
//	                | inRows uvarint | depth × width × counter uvarint
//
// Little-endian. A key is the upper 48 bits of a hash. Every counter takes at
// least a byte, so that a decoder never allocates more than four times what it
// was given.
const (
	formFrequencyExact = 1
	formFrequencyRows  = 2

	frequencyKeyBytes = frequencyKeyBits / 8
)

// AppendBinary appends the sketch's encoding to dst.
func (f *Frequency) AppendBinary(dst []byte) []byte {
	list := f.heavy()
	slices.SortFunc(list, func(a, b frequency) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	start := len(dst)
	dst = slices.Grow(dst, 8*len(list)+len(f.rows)+32)
	form := byte(formFrequencyExact)
	if f.rows != nil {
		form = formFrequencyRows
	}
	dst = appendFrequencyHeader(dst, form, f.widthBits, f.depth, f.hash, f.seed, len(list))
	for _, e := range list {
		dst = appendFrequencyKey(dst, e.key-1)
	}
	for _, e := range list {
		dst = binary.AppendUvarint(dst, e.lower)
		if form == formFrequencyRows {
			dst = binary.AppendUvarint(dst, e.upper-e.lower)
		}
	}
	if form == formFrequencyRows {
		dst = binary.AppendUvarint(dst, f.inRows)
		for _, n := range f.rows {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	}
	return seal(dst, start)
}

func appendFrequencyHeader(dst []byte, form, widthBits, depth byte, hash HashID, seed uint64, n int) []byte {
	dst = append(dst, byte(KindFrequency), encodingVersion<<4|form, widthBits, depth, byte(hash))
	dst = binary.AppendUvarint(dst, seed)
	return binary.AppendUvarint(dst, uint64(n))
}

func appendFrequencyKey(dst []byte, key uint64) []byte {
	return append(dst, byte(key), byte(key>>8), byte(key>>16), byte(key>>24), byte(key>>32), byte(key>>40))
}

// AppendFrequency appends the encoding of the sketch to which each of these
// hashes was added once, without making one when they are few. It reorders and
// overwrites the hashes, which may repeat.
func AppendFrequency(dst []byte, epsilon, delta float64, seed uint64, hashes []uint64) []byte {
	shape := Frequency{seed: seed, hash: XXH3}
	shape.widthBits, shape.depth = frequencyShape(epsilon, delta)
	if len(hashes) > shape.exactLimit() {
		for _, h := range hashes {
			shape.AddHash(h, 1)
		}
		return shape.AppendBinary(dst)
	}
	for i, h := range hashes {
		hashes[i] = frequencyKey(h) - 1
	}
	if len(hashes) <= insertionMax {
		insertUint64(hashes)
	} else {
		slices.Sort(hashes)
	}
	n := 0
	for i, h := range hashes {
		if i == 0 || h != hashes[i-1] {
			n++
		}
	}
	start := len(dst)
	dst = slices.Grow(dst, 8*n+32)
	dst = appendFrequencyHeader(dst, formFrequencyExact, shape.widthBits, shape.depth, XXH3, seed, n)
	for i, h := range hashes {
		if i == 0 || h != hashes[i-1] {
			dst = appendFrequencyKey(dst, h)
		}
	}
	for i := 0; i < len(hashes); {
		next := i + 1
		for next < len(hashes) && hashes[next] == hashes[i] {
			next++
		}
		dst = binary.AppendUvarint(dst, uint64(next-i))
		i = next
	}
	return seal(dst, start)
}

// frequencyPayload is an opened encoding.
type frequencyPayload struct {
	shape    Frequency
	n        int
	keys     []byte
	rest     reader
	withRows bool
}

func openFrequency(data []byte) (frequencyPayload, error) {
	form, body, err := open(KindFrequency, data)
	if err != nil {
		return frequencyPayload{}, err
	}
	r := reader{b: body}
	e := frequencyPayload{withRows: form == formFrequencyRows}
	s := &e.shape
	s.widthBits, s.depth, s.hash, s.seed = r.byte(), r.byte(), HashID(r.byte()), r.uvarint()
	e.n = r.count(frequencyKeyBytes + 1)
	e.keys = r.bytes(uint64(e.n) * frequencyKeyBytes)
	e.rest = r
	limit := frequencyHeavy
	if !e.withRows {
		limit = s.exactLimit()
	}
	if form != formFrequencyExact && !e.withRows || r.failed || s.hash < XXH3 || s.hash > External ||
		s.widthBits < 2 || s.widthBits > maxWidthBits || s.depth < 1 || s.depth > maxDepth || e.n > limit {
		return e, corrupt(KindFrequency, "form %d, %d × 2^%d, hash id %d, %d items", form, s.depth, s.widthBits, s.hash, e.n)
	}
	if e.withRows && len(r.b) < int(s.depth)<<s.widthBits {
		return e, corrupt(KindFrequency, "%d bytes of %d counters", len(r.b), int(s.depth)<<s.widthBits)
	}
	return e, nil
}

// entries calls each with the items of the table.
func (e *frequencyPayload) entries(each func(frequency)) error {
	last, total := uint64(0), uint64(0)
	for k := e.keys; len(k) >= frequencyKeyBytes; k = k[frequencyKeyBytes:] {
		key := uint64(k[0]) | uint64(k[1])<<8 | uint64(k[2])<<16 | uint64(k[3])<<24 | uint64(k[4])<<32 | uint64(k[5])<<40
		lower := e.rest.uvarint()
		upper := lower
		if e.withRows {
			upper += e.rest.uvarint()
		}
		total += upper
		if e.rest.failed || key+1 <= last || upper < lower || upper == 0 || upper > maxWeight || total > maxWeight {
			return corrupt(KindFrequency, "key %012x counts %d to %d", key, lower, upper)
		}
		last = key + 1
		each(frequency{key + 1, lower, upper})
	}
	if !e.withRows && !e.rest.done() {
		return corrupt(KindFrequency, "%d bytes after the last count", len(e.rest.b))
	}
	return nil
}

// rows reads the counters.
func (e *frequencyPayload) rows() (inRows uint64, rows []uint32, err error) {
	inRows = e.rest.uvarint()
	rows = make([]uint32, int(e.shape.depth)<<e.shape.widthBits)
	for i := range rows {
		n := e.rest.uvarint()
		if n > 1<<32-1 {
			return 0, nil, corrupt(KindFrequency, "counter %d", n)
		}
		rows[i] = uint32(n)
	}
	if !e.rest.done() || inRows > maxWeight {
		return 0, nil, corrupt(KindFrequency, "%d bytes after the last counter, %d counted in them", len(e.rest.b), inRows)
	}
	return inRows, rows, nil
}

// MergeBinary adds what an encoded sketch holds. On an error the sketch has not
// changed, unless the bytes were forged: exact items before the bad one are in.
func (f *Frequency) MergeBinary(data []byte) error {
	e, err := openFrequency(data)
	if err != nil {
		return err
	}
	if s := &e.shape; f.seed != s.seed || f.hash != s.hash || f.widthBits != s.widthBits || f.depth != s.depth {
		return mismatch(KindFrequency, "%v into %v", s, f)
	}
	if !e.withRows {
		return e.entries(func(item frequency) {
			f.total += item.upper
			f.addKey(item.key, item.upper)
		})
	}
	heavy := make([]frequency, 0, e.n)
	total := uint64(0)
	err = e.entries(func(item frequency) {
		heavy = append(heavy, item)
		total += item.lower
	})
	if err != nil {
		return err
	}
	inRows, rows, err := e.rows()
	if err != nil {
		return err
	}
	f.mergeRows(total+inRows, inRows, heavy, func(i int) uint32 { return rows[i] })
	return nil
}

// UnmarshalBinary makes the sketch what it was when it was encoded.
func (f *Frequency) UnmarshalBinary(data []byte) error {
	e, err := openFrequency(data)
	if err != nil {
		return err
	}
	d := e.shape
	if err := d.MergeBinary(data); err != nil {
		return err
	}
	*f = d
	return nil
}
