package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// Every bucket keeps one contract.
func TestBucketContract(t *testing.T) {
	directory, err := store.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, bucket := range map[string]store.Bucket{
		"directory": directory,
		"memory":    new(storetest.Memory),
		"faults":    &storetest.Faults{Bucket: new(storetest.Memory)},
	} {
		t.Run(name, func(t *testing.T) { storetest.Contract(t, bucket) })
	}
}

// overwriting is what a gateway does that ignores the condition of a put.
type overwriting struct{ *storetest.Memory }

func (b overwriting) Put(_ context.Context, name string, data []byte) error {
	b.Overwrite(name, data)
	return nil
}

// overwritingLarge ignores the condition only where it sends an object in parts.
type overwritingLarge struct{ *storetest.Memory }

func (b overwritingLarge) Put(ctx context.Context, name string, data []byte) error {
	if len(data) > 8<<20 {
		b.Overwrite(name, data)
		return nil
	}
	return b.Memory.Put(ctx, name, data)
}

func TestProbeFindsLiars(t *testing.T) {
	for _, bucket := range []store.Bucket{overwriting{new(storetest.Memory)}, overwritingLarge{new(storetest.Memory)}} {
		err := store.Probe(context.Background(), bucket)
		if err == nil || !strings.Contains(err.Error(), "not refused") {
			t.Errorf("%T: %v", bucket, err)
		}
	}
}

func TestDirectoryRefusesNames(t *testing.T) {
	d, err := store.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/../../b", ".tmp/a", "a\x00b"} {
		if err := d.Put(context.Background(), name, nil); err == nil {
			t.Errorf("put %q succeeded", name)
		}
		if _, err := d.Read(context.Background(), name); err == nil {
			t.Errorf("read %q succeeded", name)
		}
	}
}
