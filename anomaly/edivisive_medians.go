package anomaly

import (
	"cmp"
	"slices"
)

// medians gives the median of every segment of a series, from one beginning
// after another.
//
// Growing a segment would need a place found for each value. Shrinking one does
// not: in a linked list of the ordered values, a value is taken out at once, and
// the median moves to a neighbour or stays. So the list of all that comes after
// a beginning is taken apart from the far end, in constant time a segment:
//
//	y[t:n]  ○─○─○─●─○─○─○     ●: the median, or the lower of the middle two
//	y[t:n-1]  ○─○─●─○─○─○     y[n-1] was smaller; the median moves up at every
//	y[t:n-2]    ○─●─○─○─○     other one that is
type medians struct {
	value []float64 // in order
	rank  []int32   // of each observation among them

	list   []link // of what comes from begin on, by rank
	middle int32
	begin  int

	scratch []link
	of      []float64
}

// link leads to the next smaller and the next larger value in a list.
type link struct{ down, up int32 }

func newMedians(y []float64) *medians {
	n := len(y)
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(y[a], y[b]) })
	m := &medians{
		value: make([]float64, n), rank: make([]int32, n),
		list: make([]link, n), middle: int32((n - 1) / 2),
		scratch: make([]link, n), of: make([]float64, n+1),
	}
	for rank, i := range order {
		m.value[rank] = y[i]
		m.rank[i] = int32(rank)
		// The ends lead to each other, so that taking one out needs no care.
		m.list[rank] = link{int32((rank + n - 1) % n), int32((rank + 1) % n)}
	}
	return m
}

// from returns the medians of y[t:s] by s, for s > t, until it is called again.
// t must not fall from call to call.
func (m *medians) from(t int) []float64 {
	n := len(m.rank)
	for ; m.begin < t; m.begin++ {
		m.middle = takeOut(m.list, m.middle, m.rank[m.begin], n-m.begin)
	}
	list := m.scratch
	copy(list, m.list)
	middle := m.middle
	for s := n; s > t; s-- {
		if lower := m.value[middle]; (s-t)%2 == 1 {
			m.of[s] = lower
		} else {
			m.of[s] = (lower + m.value[list[middle].up]) / 2
		}
		middle = takeOut(list, middle, m.rank[s-1], s-t)
	}
	return m.of
}

// takeOut unlinks the value of that rank from a list of length values and
// returns where the middle is then.
func takeOut(list []link, middle, rank int32, length int) int32 {
	if length%2 == 1 {
		if rank >= middle {
			middle = list[middle].down
		}
	} else if rank <= middle {
		middle = list[middle].up
	}
	out := list[rank]
	list[out.down].up = out.up
	list[out.up].down = out.down
	return middle
}
