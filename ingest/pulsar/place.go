package pulsar

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/zeebo/xxh3"
)

// place is where a message lies in a partition. The zero place is before all.
type place struct {
	ledger, entry int64
	batch, size   int32 // of a message in an entry of size messages; size is positive
}

func placeOf(id pulsargo.MessageID) place {
	return place{ledger: id.LedgerID(), entry: id.EntryID(), batch: max(0, id.BatchIdx()), size: max(1, id.BatchSize())}
}

func (p place) known() bool { return p.size > 0 }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ledger, q.ledger), cmp.Compare(p.entry, q.entry), cmp.Compare(p.batch, q.batch))
}

// before reports that q is right behind p: there can be nothing in between.
func (p place) before(q place) bool {
	if p.batch+1 < p.size {
		return q.ledger == p.ledger && q.entry == p.entry && q.batch == p.batch+1
	}
	return q.ledger == p.ledger && q.entry == p.entry+1 && q.batch == 0
}

// id is what the client knows the place by.
func (p place) id() pulsargo.MessageID {
	if !p.known() {
		return pulsargo.EarliestMessageID()
	}
	return pulsargo.NewMessageID(p.ledger, p.entry, p.batch, -1)
}

func (p place) String() string {
	if !p.known() {
		return "the beginning"
	}
	return fmt.Sprintf("%d:%d:%d", p.ledger, p.entry, p.batch)
}

// mark is a position between messages, by the message beside it: what the tail
// of a segment holds. The zero mark is before all messages.
type mark struct {
	place
	sum  uint64 // of the message there; 0 if it was not seen
	next bool   // the message is the next one; otherwise it was the last
}

// sumOf tells a message from another at the same place of another topic.
func sumOf(m pulsargo.Message) uint64 {
	h := xxh3.New()
	number := func(n int64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	number(m.PublishTime().UnixMilli())
	text(h, number, m.ProducerName())
	text(h, number, m.Key())
	h.Write(m.Payload())
	return h.Sum64()
}

func text(h hash.Hash, number func(int64), s string) {
	number(int64(len(s)))
	h.Write([]byte(s))
}

// A tail is a version, then
//
//	sum 8 │ next 1 │ ledger │ entry │ batch │ size      as varints
const markVersion = 1

var errTail = errors.New("the segment's tail is not a place in a topic of Pulsar")

func (m mark) encode() []byte {
	if !m.known() {
		return nil
	}
	b := binary.LittleEndian.AppendUint64([]byte{markVersion}, m.sum)
	if m.next {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, n := range []int64{m.ledger, m.entry, int64(m.batch), int64(m.size)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func decodeMark(b []byte) (mark, error) {
	if len(b) == 0 {
		return mark{}, nil
	}
	if len(b) < 10 || b[0] != markVersion || b[9] > 1 {
		return mark{}, errTail
	}
	m := mark{sum: binary.LittleEndian.Uint64(b[1:]), next: b[9] == 1}
	var numbers [4]int64
	rest := b[10:]
	for i := range numbers {
		n, width := binary.Uvarint(rest)
		if width <= 0 || n > math.MaxInt64 || i > 1 && n > math.MaxInt32 {
			return mark{}, errTail
		}
		numbers[i], rest = int64(n), rest[width:]
	}
	m.place = place{ledger: numbers[0], entry: numbers[1], batch: int32(numbers[2]), size: int32(numbers[3])}
	if len(rest) > 0 || m.size == 0 || m.batch >= m.size {
		return mark{}, errTail
	}
	return m, nil
}
