package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The order of a put is its promise: nothing is linked before its bytes are
// synced, and nothing reported before its name is.
func TestPutSyncsWhatItReports(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "store")
	d, err := OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	first := true
	d.sync = func(f *os.File) error {
		name := strings.TrimPrefix(f.Name(), root)
		if strings.Contains(name, "put-") {
			name = "temporary file"
			if _, err := os.Stat(filepath.Join(root, "a/b/c")); first && err == nil {
				t.Error("the object was linked before its bytes were synced")
			}
			first = false
		}
		synced = append(synced, name)
		return f.Sync()
	}
	if err := d.Put(context.Background(), "a/b/c", []byte("x")); err != nil {
		t.Fatal(err)
	}
	want := []string{"", "/a", "temporary file", "/a/b"} // the folders that hold a, b, and c
	if !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}

	// What another process linked may not be durable: a refused put and a
	// takeover see to it before they build on it.
	synced = nil
	if err := d.Put(context.Background(), "a/b/c", []byte("y")); !errors.Is(err, ErrExists) {
		t.Fatalf("second put: %v", err)
	}
	if want := []string{"temporary file", "/a/b"}; !slices.Equal(synced, want) {
		t.Errorf("the refused put synced %q, want %q", synced, want)
	}
	synced = nil
	if err := d.Sync(context.Background(), "a/b/"); err != nil || !slices.Equal(synced, []string{"/a/b"}) {
		t.Errorf("Sync synced %q, %v", synced, err)
	}
}

func TestFsyncErrorIsToldApart(t *testing.T) {
	for _, at := range []string{"put-", "/a"} {
		d, err := OpenDirectory(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		d.sync = func(f *os.File) error {
			if strings.Contains(f.Name(), at) {
				return unix.EIO
			}
			return f.Sync()
		}
		err = d.Put(context.Background(), "a/b", []byte("x"))
		if !errors.Is(err, ErrSync) || !errors.Is(err, unix.EIO) {
			t.Errorf("fsync of %s failed, Put says %v", at, err)
		}
		if at == "put-" {
			if _, err := d.Read(context.Background(), "a/b"); !errors.Is(err, ErrNotFound) {
				t.Errorf("an object whose bytes were not synced is there: %v", err)
			}
		}
	}
}

func TestFullDisk(t *testing.T) {
	d, err := OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// A limit on the size of files fails a write as a full disk does, halfway.
	// It holds for the whole process, so this test must not be parallel.
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := before
	limit.Cur = 1000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	putErr := d.Put(context.Background(), "a", make([]byte, 2000))
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if putErr == nil || errors.Is(putErr, ErrSync) || errors.Is(putErr, ErrExists) {
		t.Errorf("put without room: %v", putErr)
	}
	if err := d.Put(context.Background(), "a", make([]byte, 2000)); err != nil {
		t.Errorf("put with room again: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(d.root, temporaryFolder))
	if err != nil || len(left) > 0 {
		t.Errorf("%d temporary files are left, %v", len(left), err)
	}
}

func TestStaleTemporaryFilesGo(t *testing.T) {
	root := t.TempDir()
	d, err := OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	held, err := d.writeTemporary([]byte("of a put under way"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	stale, err := d.writeTemporary([]byte("of a process that died"))
	if err != nil {
		t.Fatal(err)
	}
	stale.Close() // as death does, this frees the lock
	if _, err := OpenDirectory(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(held.Name()); err != nil {
		t.Errorf("the file of a put under way is gone: %v", err)
	}
	if _, err := os.Stat(stale.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a dead process: %v", err)
	}
}
