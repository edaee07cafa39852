package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/store"
)

// settler puts objects until it is known what is stored.
type settler struct {
	bucket  store.Bucket
	log     *slog.Logger
	retries atomic.Int64
}

// settle puts the object and returns what is stored under its name, whoever put
// it, durably. It tries until it knows, or the context ends. An error that wraps
// store.ErrSync must end the process.
func (s *settler) settle(ctx context.Context, name string, data []byte) ([]byte, error) {
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		putErr := s.bucket.Put(ctx, name, data)
		if putErr == nil {
			return data, nil
		}
		if errors.Is(putErr, store.ErrSync) {
			return nil, putErr
		}
		stored, readErr := s.bucket.Read(ctx, name)
		if readErr == nil {
			readErr = s.sync(ctx, name) // its putter may have died before
		}
		if readErr == nil {
			return stored, nil
		}
		if errors.Is(readErr, store.ErrSync) {
			return nil, readErr
		}
		s.retries.Add(1)
		s.log.Warn("an object could not be put, trying again", "object", name, "again_in", wait, "err", putErr, "read", readErr)
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("whether it is stored is not known: put: %w; read back: %w; %w", putErr, readErr, err)
		}
	}
}

// sync makes durable what can be read in the folder of a name.
func (s *settler) sync(ctx context.Context, name string) error {
	if bucket, ok := s.bucket.(store.Syncer); ok {
		return bucket.Sync(ctx, name[:strings.LastIndexByte(name, '/')+1])
	}
	return nil
}

// A put that fails is tried again after a pause, each time about twice as long.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 5 * time.Second
)

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(time.Duration(float64(d) * (0.5 + rand.Float64())))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
