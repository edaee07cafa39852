package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Directory is a Bucket in a local directory; an object is a file of its name.
//
// A put writes a temporary file, syncs it, links it to its name and syncs the
// directory of the name. link(2) refuses a name that exists, so that puts of
// several processes race safely, and no reader ever sees half an object. A
// directory that is created is made durable in its parent before it is used.
//
// An fsync that fails is never tried again: the kernel may have dropped the
// pages and would report success. The error wraps ErrSync.
type Directory struct {
	root string

	mu      sync.Mutex
	durable map[string]bool // folders known to be durable, at most maxDurable; guarded by mu

	sync func(*os.File) error // replaced by tests to fail
}

const (
	temporaryFolder = ".tmp" // no name begins with a dot, see escape
	maxDurable      = 4096   // beyond it the set is forgotten, which costs a few fsyncs
)

// OpenDirectory opens the directory, creating it and its parents where they do
// not exist, and removes temporary files that no living process holds.
func OpenDirectory(path string) (*Directory, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	d := &Directory{root: root, durable: make(map[string]bool), sync: (*os.File).Sync}
	if err := d.createRoot(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := d.ensure(filepath.Join(root, temporaryFolder)); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := d.removeStale(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return d, nil
}

// Path returns the absolute path of the directory.
func (d *Directory) Path() string { return d.root }

// Put implements Bucket.
func (d *Directory) Put(ctx context.Context, name string, data []byte) error {
	if err := d.put(ctx, name, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (d *Directory) put(ctx context.Context, name string, data []byte) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := d.ensure(folder); err != nil {
		return err
	}
	temporary, err := d.writeTemporary(data)
	if temporary != nil {
		// Only after the link: the lock on the open file says that it is in use.
		defer func() {
			os.Remove(temporary.Name())
			temporary.Close()
		}()
	}
	if err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Whoever linked it may have died before the sync that follows.
		if err := d.syncFolder(folder); err != nil {
			return err
		}
		return ErrExists
	}
	return d.syncFolder(folder)
}

// writeTemporary returns a synced, locked file of the data. It may return both
// a file and an error.
func (d *Directory) writeTemporary(data []byte) (*os.File, error) {
	path := filepath.Join(d.root, temporaryFolder, "put-"+rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return f, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if _, err := f.Write(data); err != nil {
		return f, err
	}
	if err := d.sync(f); err != nil {
		return f, fmt.Errorf("%w: %s: %w", ErrSync, f.Name(), err)
	}
	return f, nil
}

// removeStale removes the temporary files of processes that died: those whose
// lock is free. A put that has created its file and not yet locked it may lose
// it; it then fails at the link, as a put may.
func (d *Directory) removeStale() error {
	folder := filepath.Join(d.root, temporaryFolder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		f, err := os.Open(path)
		if err != nil {
			continue // its process has just removed it
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.Remove(path)
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale temporary file: %w", err)
		}
	}
	return nil
}

// createRoot creates the root and its missing parents, each durable in its own
// parent before the next.
func (d *Directory) createRoot() error {
	missing := []string{d.root}
	for {
		parent := filepath.Dir(missing[len(missing)-1])
		if _, err := os.Stat(parent); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, parent)
	}
	for _, folder := range slices.Backward(missing) {
		err := os.Mkdir(folder, 0o755)
		existed := errors.Is(err, fs.ErrExist)
		if err != nil && !existed {
			return err
		}
		// A root that exists may be from a process that died before this sync,
		// unless it lies where only others may write.
		if err := d.syncFolder(filepath.Dir(folder)); err != nil && !(existed && errors.Is(err, fs.ErrPermission)) {
			return err
		}
	}
	return nil
}

// ensure creates a folder below the root, and makes it and its parents durable,
// also those that are there: who created them may have died before that.
func (d *Directory) ensure(folder string) error {
	d.mu.Lock()
	known := d.durable[folder]
	d.mu.Unlock()
	if known || folder == d.root {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := d.ensure(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.syncFolder(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.durable) >= maxDurable {
		clear(d.durable)
	}
	d.durable[folder] = true
	return nil
}

func (d *Directory) syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.sync(f); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSync, folder, err)
	}
	return nil
}

// Sync implements Syncer. Content is synced before it is linked, so only the
// folder remains.
func (d *Directory) Sync(_ context.Context, folder string) error {
	path, err := d.path(strings.TrimSuffix(folder, "/"))
	if err == nil {
		err = d.syncFolder(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sync %s: %w", folder, err)
	}
	return nil
}

// Read implements Bucket.
func (d *Directory) Read(ctx context.Context, name string) ([]byte, error) {
	path, err := d.path(name)
	if err == nil {
		err = ctx.Err()
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, absent(err))
	}
	return data, nil
}

// Open implements Bucket.
func (d *Directory) Open(ctx context.Context, name string) (Object, error) {
	path, err := d.path(name)
	if err == nil {
		err = ctx.Err()
	}
	var object *fileObject
	if err == nil {
		object, err = openFileObject(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, absent(err))
	}
	return object, nil
}

// List implements Bucket.
func (d *Directory) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := d.list(ctx, folder, after)
		if err != nil {
			yield("", fmt.Errorf("list %s: %w", folder, err))
			return
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (d *Directory) list(ctx context.Context, folder, after string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := d.root
	if folder != "" {
		var err error
		if path, err = d.path(strings.TrimSuffix(folder, "/")); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := folder + e.Name()
		if e.IsDir() {
			name += "/"
		}
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Delete implements Bucket.
func (d *Directory) Delete(ctx context.Context, name string) error {
	path, err := d.path(name)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, absent(err))
	}
	return nil
}

// path returns the path of a name, which must stay inside the directory.
func (d *Directory) path(name string) (string, error) {
	for component := range strings.SplitSeq(name, "/") {
		if component == "" || component[0] == '.' || strings.ContainsAny(component, "\x00\\") {
			return "", fmt.Errorf("%q cannot be a name in a directory", name)
		}
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

// absent turns the file system's ways to say so into ErrNotFound.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) {
		return ErrNotFound
	}
	return err
}

type fileObject struct {
	*os.File
	size int64
}

func openFileObject(path string) (*fileObject, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = unix.EISDIR
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &fileObject{File: f, size: info.Size()}, nil
}

func (o *fileObject) Size() int64 { return o.size }
