package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/weir-stream/weir/store"
)

// Outcome is what becomes of a put.
type Outcome uint8

// The outcomes of a put.
const (
	Done      Outcome = iota // as asked
	Lost                     // fails, and is not stored
	Unknown                  // fails, and is stored all the same
	Delayed                  // fails, and is stored when Land is called, if its name is still free
	Unsynced                 // fails with store.ErrSync, and may be stored: the process has to end
	Forgotten                // fails with store.ErrExists, though nothing was there and nothing is stored
)

func (o Outcome) String() string {
	return [...]string{"done", "lost", "unknown", "delayed", "unsynced", "forgotten"}[o]
}

// ErrInjected is what operations fail with that a test wanted to fail.
var ErrInjected = errors.New("injected fault")

// Faults is a Bucket that passes everything on to another, except what its
// functions decide otherwise. They may be nil, are set before use, and may use
// this or any other bucket themselves: what they do happens in the middle of the
// operation they are asked about. A process that crashes is one whose Faults is
// abandoned after Crash.
type Faults struct {
	Bucket store.Bucket
	OnPut  func(name string) Outcome
	OnRead func(name string) error // Read, Open, List and Sync

	mu      sync.Mutex
	delayed []delayedPut // guarded by mu
	crashed bool         // guarded by mu
}

type delayedPut struct {
	name string
	data []byte
}

// Put implements store.Bucket.
func (f *Faults) Put(ctx context.Context, name string, data []byte) error {
	outcome := Done
	if f.OnPut != nil && !f.hasCrashed() {
		outcome = f.OnPut(name)
	}
	if f.hasCrashed() {
		return fmt.Errorf("put %s: crashed: %w", name, ErrInjected)
	}
	switch outcome {
	case Done:
		return f.Bucket.Put(ctx, name, data)
	case Forgotten:
		return fmt.Errorf("put %s: %w", name, store.ErrExists)
	case Unsynced:
		return fmt.Errorf("put %s: %w: %w", name, store.ErrSync, ErrInjected)
	case Delayed:
		f.mu.Lock()
		f.delayed = append(f.delayed, delayedPut{name, bytes.Clone(data)})
		f.mu.Unlock()
	case Unknown:
		if err := f.Bucket.Put(ctx, name, data); err != nil {
			return err
		}
	}
	return fmt.Errorf("put %s: %v: %w", name, outcome, ErrInjected)
}

// Land lets the puts arrive that were delayed, also after a crash, and returns
// how many were stored.
func (f *Faults) Land() int {
	f.mu.Lock()
	delayed := f.delayed
	f.delayed = nil
	f.mu.Unlock()
	stored := 0
	for _, d := range delayed {
		if f.Bucket.Put(context.Background(), d.name, d.data) == nil {
			stored++
		}
	}
	return stored
}

// Crash makes every operation fail from now on.
func (f *Faults) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
}

func (f *Faults) hasCrashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

func (f *Faults) read(name string) error {
	var err error
	if f.OnRead != nil && !f.hasCrashed() {
		err = f.OnRead(name)
	}
	if f.hasCrashed() {
		return fmt.Errorf("read %s: crashed: %w", name, ErrInjected)
	}
	return err
}

// Read implements store.Bucket.
func (f *Faults) Read(ctx context.Context, name string) ([]byte, error) {
	if err := f.read(name); err != nil {
		return nil, err
	}
	return f.Bucket.Read(ctx, name)
}

// Open implements store.Bucket.
func (f *Faults) Open(ctx context.Context, name string) (store.Object, error) {
	if err := f.read(name); err != nil {
		return nil, err
	}
	return f.Bucket.Open(ctx, name)
}

// List implements store.Bucket.
func (f *Faults) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := f.read(folder); err != nil {
			yield("", err)
			return
		}
		for name, err := range f.Bucket.List(ctx, folder, after) {
			if !yield(name, err) {
				return
			}
		}
	}
}

// Sync implements store.Syncer where the other bucket does.
func (f *Faults) Sync(ctx context.Context, folder string) error {
	if err := f.read(folder); err != nil {
		return err
	}
	if s, ok := f.Bucket.(store.Syncer); ok {
		return s.Sync(ctx, folder)
	}
	return nil
}

// Delete implements store.Bucket.
func (f *Faults) Delete(ctx context.Context, name string) error {
	if err := f.read(name); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, name)
}
