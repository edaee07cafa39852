// Package storetest has buckets for tests: one in memory, and one that fails as
// real stores do, where and how a test says.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/weir-stream/weir/store"
)

// Memory is a Bucket in memory. Its zero value is empty and ready.
type Memory struct {
	mu      sync.Mutex
	objects map[string][]byte // guarded by mu; the bytes never change
}

// Put implements store.Bucket.
func (m *Memory) Put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[name]; taken {
		return fmt.Errorf("put %s: %w", name, store.ErrExists)
	}
	if m.objects == nil {
		m.objects = make(map[string][]byte)
	}
	m.objects[name] = bytes.Clone(data)
	return nil
}

// Read implements store.Bucket.
func (m *Memory) Read(ctx context.Context, name string) ([]byte, error) {
	data, err := m.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return bytes.Clone(data), nil
}

// Open implements store.Bucket. Like a file, the object can be read on after it
// was deleted.
func (m *Memory) Open(ctx context.Context, name string) (store.Object, error) {
	data, err := m.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return object{bytes.NewReader(data)}, nil
}

func (m *Memory) find(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return nil, store.ErrNotFound
	}
	return data, nil
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

// List implements store.Bucket.
func (m *Memory) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := ctx.Err(); err != nil {
			yield("", fmt.Errorf("list %s: %w", folder, err))
			return
		}
		found := make(map[string]bool)
		for _, name := range m.Names() {
			rest, ok := strings.CutPrefix(name, folder)
			if !ok {
				continue
			}
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				rest = rest[:i+1]
			}
			if folder+rest > after {
				found[folder+rest] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Delete implements store.Bucket.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if _, err := m.find(ctx, name); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// Names returns the names of all objects, in order.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Overwrite stores the object whether its name is taken or not: what no store
// does, but a disk that rots.
func (m *Memory) Overwrite(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects = make(map[string][]byte)
	}
	m.objects[name] = bytes.Clone(data)
}
