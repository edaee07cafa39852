package sketch

// A small HLL is a hash table of its tokens: it grows by doubling, is never
// sorted while it lives, and so answers without touching itself.

const firstTable = 4

// slot spreads tokens over a table of 1<<bits. A sorted list of tokens must
// not fill the table from one end, so the token is multiplied first.
func slot(t uint32, size int) int {
	return int(uint64(t*0x9E3779B1) * uint64(size) >> 32)
}

// add32 counts a token in either form.
func (s *HLL) add32(t uint32) {
	if s.packed == nil {
		s.addToken(t)
		return
	}
	s.raise(register(t, s.p))
}

// addToken counts a token while the sketch is a table.
func (s *HLL) addToken(t uint32) {
	if int(s.n)*4 >= len(s.table)*3 {
		s.grow(int(s.n) + 1)
	}
	mask := len(s.table) - 1
	for i := slot(t, len(s.table)); ; i = (i + 1) & mask {
		switch s.table[i] {
		case t + 1:
			return
		case 0:
			s.table[i] = t + 1
			s.n++
			if int(s.n) > tokenLimit(s.p) {
				s.densify()
			}
			return
		}
	}
}

// grow makes room for n tokens.
func (s *HLL) grow(n int) {
	size := max(firstTable, len(s.table))
	for n*4 > size*3 {
		size *= 2
	}
	if size == len(s.table) {
		return
	}
	old := s.table
	s.table = make([]uint32, size)
	mask := size - 1
	for _, v := range old {
		if v == 0 {
			continue
		}
		i := slot(v-1, size)
		for s.table[i] != 0 {
			i = (i + 1) & mask
		}
		s.table[i] = v
	}
}

// appendTokens appends the tokens of the table, in no order.
func (s *HLL) appendTokens(dst []uint32) []uint32 {
	for _, v := range s.table {
		if v != 0 {
			dst = append(dst, v-1)
		}
	}
	return dst
}

// densify turns the table into registers.
func (s *HLL) densify() {
	if s.packed != nil {
		return
	}
	table := s.table
	s.packed, s.table, s.n = newPacked(s.p), nil, 0
	for _, v := range table {
		if v != 0 {
			s.raise(register(v-1, s.p))
		}
	}
}
