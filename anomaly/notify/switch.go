package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/store"
)

// An endpoint that answers 410 wants nothing more, until somebody says
// otherwise: by a test that succeeds, or by giving it another URL. That it is
// off stands in the store, with a fingerprint of the URL, so that all nodes know
// and a start does not forget.

func (e *endpoint) fingerprint() string {
	sum := sha256.Sum256([]byte(e.address))
	return hex.EncodeToString(sum[:6])
}

// offSuffix ends the name of a switch that turned this very URL off.
func (e *endpoint) offSuffix() string { return "-off-" + e.fingerprint() }

// readSwitch learns whether the endpoint is disabled.
func (e *endpoint) readSwitch(ctx context.Context) error {
	last, err := e.lastSwitch(ctx)
	if err != nil {
		return err
	}
	off := strings.HasSuffix(last, e.offSuffix())
	if off != e.off {
		e.log.Info("webhook switched", "webhook", e.config.Name, "disabled", off)
	}
	e.off = off
	value := 0.0
	if off {
		value = 1
	}
	e.metrics.disabled.WithLabelValues(e.config.Name).Set(value)
	return nil
}

func (e *endpoint) lastSwitch(ctx context.Context) (string, error) {
	last := ""
	for name, err := range e.bucket.List(ctx, e.folder+switchPart, "") {
		if err != nil {
			return "", fmt.Errorf("webhook %s: %w", e.config.Name, err)
		}
		last = name
	}
	return last, nil
}

// disable keeps the endpoint from being sent anything.
func (e *endpoint) disable(ctx context.Context) error {
	e.log.Error("webhook disabled: it answered 410 Gone. Enable it by a test that succeeds (weir webhook test "+e.config.Name+") or by changing its URL",
		"webhook", e.config.Name)
	e.off = true
	e.metrics.disabled.WithLabelValues(e.config.Name).Set(1)
	return e.putSwitch(ctx, "off")
}

// putSwitch writes the newest state, and removes older ones.
func (e *endpoint) putSwitch(ctx context.Context, state string) error {
	folder := e.folder + switchPart
	last, err := e.lastSwitch(ctx)
	if err != nil {
		return err
	}
	n := int64(0)
	if number, _, found := strings.Cut(strings.TrimPrefix(last, folder), "-"); found {
		if n, err = strconv.ParseInt(number, 10, 64); err != nil {
			return fmt.Errorf("webhook %s: %q is not a name that is written here", e.config.Name, last)
		}
	}
	name := fmt.Sprintf("%s%019d-%s-%s", folder, n+1, state, e.fingerprint())
	if err := e.bucket.Put(ctx, name, []byte("{}")); err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("webhook %s: %w", e.config.Name, err)
	}
	if last != "" && last != name {
		return e.delete(ctx, last)
	}
	return nil
}
