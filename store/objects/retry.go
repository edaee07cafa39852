package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/smithy-go"

	"github.com/weir-stream/weir/store"
)

// errSlow says that a request was given up.
var errSlow = errors.New("the object store did not go on in time")

// try makes a request, and repeats it while it fails for a reason that may pass.
// The request says by progress that bytes have arrived; body is how many it
// sends. An error that means absent wraps store.ErrNotFound, one that may pass
// store.ErrUnavailable.
func (b *Bucket) try(ctx context.Context, op operation, body int, request func(ctx context.Context, progress func(int)) error) error {
	for attempt, wait := 1, b.policy.first; ; attempt, wait = attempt+1, min(2*wait, b.policy.longest) {
		err := b.attempt(ctx, op, body, request)
		switch {
		case err == nil || isTaken(err):
			return err
		case b.service.absent(op, err):
			return fmt.Errorf("%w (%w)", store.ErrNotFound, err)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case !b.mayPass(err):
			return err
		case attempt == b.policy.attempts:
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		if pauseErr := pause(ctx, jitter(wait)); pauseErr != nil {
			return fmt.Errorf("%w: %w", pauseErr, err)
		}
	}
}

func (b *Bucket) attempt(ctx context.Context, op operation, body int, request func(ctx context.Context, progress func(int)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := b.policy.patience
	sending := time.Duration(body) * time.Second / time.Duration(b.policy.rate)
	timer := time.AfterFunc(patience+sending, func() { cancel(errSlow) })
	defer timer.Stop()

	begun := time.Now()
	err := request(ctx, func(n int) {
		timer.Reset(patience)
		b.metrics.read.Add(float64(n))
	})
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		err = fmt.Errorf("%w: %w", errSlow, err)
	}
	b.metrics.observe(op, b.outcomeOf(op, err), time.Since(begun))
	return err
}

// mayPass reports whether the same request may succeed later. The services say
// by a status of 400 to 499 that it will not, but for a few; what an answer says
// that is torn is not known.
func (b *Bucket) mayPass(err error) bool {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "RequestTimeout", "RequestTimeTooSkewed": // S3 says 400 and 403
			return true
		}
	}
	switch code := b.service.status(err); code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return code < 400 || code > 499
	}
}

// jitter returns something between half of a wait and one and a half, so that
// those who failed together do not come back together.
func jitter(wait time.Duration) time.Duration { return wait/2 + rand.N(wait) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
