package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/weir-stream/weir/store"
)

// Contract tests what every bucket promises. The bucket is empty before, and not
// after.
func Contract(t *testing.T, bucket store.Bucket) {
	t.Helper()
	ctx := context.Background()
	put := func(name, data string) {
		t.Helper()
		if err := bucket.Put(ctx, name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(folder, after string) []string {
		t.Helper()
		var names []string
		for name, err := range bucket.List(ctx, folder, after) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	put("s/b/2", "two")
	put("s/b/10", "ten")
	put("s/b-/1", "one")
	put("s/b/deep/er", "deep")
	put("t", "top")

	if err := bucket.Put(ctx, "s/b/2", []byte("another")); !errors.Is(err, store.ErrExists) {
		t.Errorf("second put: %v", err)
	}
	if data, err := bucket.Read(ctx, "s/b/2"); err != nil || string(data) != "two" {
		t.Errorf("read: %q, %v", data, err)
	}
	for _, absent := range []string{"s/b/3", "s/b", "s/b/2/x", "nothing/at/all"} {
		if _, err := bucket.Read(ctx, absent); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("read %s: %v", absent, err)
		}
		if _, err := bucket.Open(ctx, absent); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("open %s: %v", absent, err)
		}
	}
	object, err := bucket.Open(ctx, "s/b/10")
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 2)
	if _, err := object.ReadAt(part, 1); err != nil || string(part) != "en" || object.Size() != 3 {
		t.Errorf("read a part: %q of %d, %v", part, object.Size(), err)
	}
	if n, err := object.ReadAt(part, 2); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	object.Close()

	for _, c := range []struct {
		folder, after string
		want          []string
	}{
		{"", "", []string{"s/", "t"}},
		{"s/", "", []string{"s/b-/", "s/b/"}},
		{"s/b/", "", []string{"s/b/10", "s/b/2", "s/b/deep/"}},
		{"s/b/", "s/b/10", []string{"s/b/2", "s/b/deep/"}},
		{"s/b/", "s/b/1", []string{"s/b/10", "s/b/2", "s/b/deep/"}},
		{"nothing/", "", nil},
	} {
		if got := list(c.folder, c.after); !slices.Equal(got, c.want) {
			t.Errorf("list %q after %q: %q, want %q", c.folder, c.after, got, c.want)
		}
	}
	if err := bucket.Delete(ctx, "s/b/2"); err != nil {
		t.Error(err)
	}
	if err := bucket.Delete(ctx, "s/b/2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("delete what is gone: %v", err)
	}
	put("s/b/2", "again")

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := bucket.Put(ended, "late", nil); err == nil {
		if _, err := bucket.Read(ctx, "late"); err != nil {
			t.Error("a put that was stored nowhere succeeded")
		}
	}
	if err := store.Probe(ctx, bucket); err != nil {
		t.Error(err)
	}
	if left := list("~probe/", ""); len(left) > 0 {
		t.Errorf("the probe left %q", left)
	}
	testRace(t, bucket)
}

// testRace lets many put one name: exactly one wins, and it is the one read.
func testRace(t *testing.T, bucket store.Bucket) {
	const rounds, racers = 20, 8
	for round := range rounds {
		name := fmt.Sprintf("race/%d", round)
		var (
			wg   sync.WaitGroup
			errs [racers]error
		)
		for i := range racers {
			wg.Go(func() { errs[i] = bucket.Put(context.Background(), name, bytes.Repeat([]byte{byte(i)}, 10_000)) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: both %d and %d won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, store.ErrExists):
				t.Fatal(err)
			}
		}
		data, err := bucket.Read(context.Background(), name)
		if err != nil || winner < 0 || !bytes.Equal(data, bytes.Repeat([]byte{byte(winner)}, 10_000)) {
			t.Fatalf("round %d: %d won, %d bytes of %v are stored, %v", round, winner, len(data), data[:1], err)
		}
	}
}
