package pulsar

import (
	"strings"
	"testing"
)

func TestMarksAreReadAsWritten(t *testing.T) {
	for _, m := range []mark{{}, {place: place{0, 0, 0, 1}}, {place: place{1<<63 - 1, 1<<63 - 1, 1<<31 - 2, 1<<31 - 1}, sum: 1<<64 - 1, next: true}} {
		if got, err := decodeMark(m.encode()); err != nil || got != m {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add(mark{place: place{12, 34, 5, 6}, sum: 7}.encode())
	f.Add([]byte{markVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMark(b)
		if err != nil {
			return
		}
		if again, err := decodeMark(m.encode()); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

func TestBefore(t *testing.T) {
	for _, test := range []struct {
		p, q place
		want bool
	}{
		{place{1, 2, 0, 1}, place{1, 3, 0, 1}, true},
		{place{1, 2, 0, 1}, place{1, 3, 0, 9}, true},
		{place{1, 2, 0, 2}, place{1, 2, 1, 2}, true},
		{place{1, 2, 1, 2}, place{1, 3, 0, 1}, true},
		{place{1, 2, 0, 2}, place{1, 3, 0, 1}, false},
		{place{1, 2, 0, 1}, place{1, 4, 0, 1}, false},
		{place{1, 2, 0, 1}, place{1, 3, 1, 2}, false},
		{place{1, 2, 0, 1}, place{2, 0, 0, 1}, false},
	} {
		if test.p.before(test.q) != test.want || test.p.compare(test.q) != -1 {
			t.Errorf("%v before %v", test.p, test.q)
		}
	}
}

func TestPartitionNamesFitTheStore(t *testing.T) {
	if p := Partition("orders"); p != "pulsar:public/default/orders" {
		t.Error(p)
	}
	if p := Partition("persistent://a/b/orders-partition-12"); p != "pulsar:a/b/orders:12" {
		t.Error(p)
	}
	long := Partition("a/b/" + strings.Repeat("x", 249) + "-partition-123456")
	if len(long) > 130 || long == Partition("a/b/y"+strings.Repeat("x", 248)+"-partition-123456") {
		t.Error(long)
	}
}
