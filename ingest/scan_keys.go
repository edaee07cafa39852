package ingest

import "encoding/binary"

// object is what the plan wants of one object: a node of the tree of paths.
type object struct {
	keys []key
	last []token // the keys of the last object seen here, in order
}

// key is a wanted member of an object. A member can be wanted both for itself
// ("a") and for what is inside it ("a.b").
type key struct {
	name  string
	slot  int     // in scanner.values, or -1
	child *object // or nil
	under []int   // every slot in child, to be blanked when the key comes again
}

// token is what stood before a value last time: a comma, white space, the
// quoted key, the colon.
type token struct {
	key    int // index in object.keys, or -1
	size   int
	lo, hi uint64 // the first 16 bytes
	maskLo uint64
	maskHi uint64
	rest   []byte // from byte 16 on
}

const maxTokens = 64 // keys remembered of an object

// slot plants a path in the tree of wanted fields.
func (s *scanner) slot(keys []string) int {
	o := &s.root
	var above []*key
	for depth, name := range keys {
		i := o.find([]byte(name))
		if i < 0 {
			o.keys = append(o.keys, key{name: name, slot: -1})
			i = len(o.keys) - 1
		}
		k := &o.keys[i]
		if depth == len(keys)-1 {
			if k.slot < 0 {
				k.slot = len(s.values)
				s.values = append(s.values, value{})
				for _, a := range above {
					a.under = append(a.under, k.slot)
				}
			}
			return k.slot
		}
		above = append(above, k)
		if k.child == nil {
			k.child = &object{}
		}
		o = k.child
	}
	panic("a path has at least one key")
}

func (o *object) find(name []byte) int {
	for i := range o.keys {
		if o.keys[i].name == string(name) {
			return i
		}
	}
	return -1
}

// remember keeps what stood before the n-th value, for the next object here.
func (o *object) remember(n, k int, raw []byte) {
	if n >= maxTokens || len(raw) > 256 || n > len(o.last) {
		return
	}
	if n == len(o.last) {
		o.last = append(o.last, token{})
	}
	var first [16]byte
	head := copy(first[:], raw)
	t := &o.last[n]
	t.key, t.size = k, len(raw)
	t.lo, t.maskLo = binary.LittleEndian.Uint64(first[:]), lowBytes(head)
	t.hi, t.maskHi = binary.LittleEndian.Uint64(first[8:]), lowBytes(head-8)
	t.rest = append(t.rest[:0], raw[head:]...)
}

// lowBytes masks the first n bytes of a little-endian word.
func lowBytes(n int) uint64 {
	if n <= 0 {
		return 0
	}
	return ^uint64(0) >> (64 - 8*min(n, 8))
}

// matches reports whether the token stands at b[i:end]; b may reach beyond end.
func (t *token) matches(b []byte, i, end int) bool {
	if i+16 > len(b) || i+t.size > end {
		return false
	}
	b = b[i:]
	if (binary.LittleEndian.Uint64(b)^t.lo)&t.maskLo|(binary.LittleEndian.Uint64(b[8:])^t.hi)&t.maskHi != 0 {
		return false
	}
	return len(t.rest) == 0 || string(b[16:t.size]) == string(t.rest)
}
