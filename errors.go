package weir

import (
	"errors"
	"fmt"
	"time"
)

// What a caller of several rooms decides on. Rooms that never meet share these,
// wrap them with what was tried, and are asked by [errors.Is] and [errors.As].
var (
	// ErrUnknownStream says that no stream of that name is defined.
	ErrUnknownStream = errors.New("no such stream")

	// ErrNotPushed says that the stream reads its events from somewhere else
	// and takes none from a push.
	ErrNotPushed = errors.New("the stream takes no pushed events")

	// ErrKeyReused says that an idempotency key came again with other bytes.
	ErrKeyReused = errors.New("the idempotency key was used before with another body")

	// ErrStopping says that the process is shutting down and takes no new work.
	// What was refused with it was not done; it can be sent again.
	ErrStopping = errors.New("shutting down")
)

// ErrBehind says that a bound on work not yet done was reached. What was
// refused with it was not done; it can be sent again after RetryAfter.
type ErrBehind struct {
	Reason     string        // what is behind: "12 MiB wait for partition 3"
	RetryAfter time.Duration // an estimate; 0 means unknown
}

func (e *ErrBehind) Error() string {
	if e.RetryAfter <= 0 {
		return "behind: " + e.Reason
	}
	return fmt.Sprintf("behind: %s: retry after %v", e.Reason, e.RetryAfter)
}
