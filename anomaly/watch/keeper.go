package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/store"
)

// keeper is where a detector's incidents and its state are kept. States are
//
//	<stream>/watch/<detector>/<n>     n has 19 digits; the newest counts
//
// and the last two are kept: one may be damaged, or be read right now.
type keeper struct {
	bucket store.Bucket
	log    *incident.Log
	logger *slog.Logger
}

// kept is what is known of the past.
type kept struct {
	machine *machine // nil if there is no state of this definition
	judged  int64    // windows that begin before it were judged
}

const statesKept = 2

func (k *keeper) ref(d *definition) incident.Ref {
	return incident.Ref{Stream: d.stream.Name, Detector: d.config.Name}
}

func stateFolder(d *definition) string {
	return d.stream.Name + "/watch/" + d.config.Name + "/"
}

func stateName(d *definition, n int64) string { return fmt.Sprintf("%s%019d", stateFolder(d), n) }

// states lists the numbers of the saved states, in order.
func (k *keeper) states(ctx context.Context, d *definition) ([]int64, error) {
	var out []int64
	folder := stateFolder(d)
	for name, err := range k.bucket.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("list the states of detector %s: %w", d.config.Name, err)
		}
		if n, err := strconv.ParseInt(name[len(folder):], 10, 64); err == nil && stateName(d, n) == name {
			out = append(out, n)
		}
	}
	return out, nil
}

// load reads the newest state that can be read.
func (k *keeper) load(ctx context.Context, d *definition) (kept, error) {
	out := kept{judged: math.MinInt64}
	states, err := k.states(ctx, d)
	if err != nil {
		return out, err
	}
	for i := len(states) - 1; i >= 0; i-- {
		data, err := k.bucket.Read(ctx, stateName(d, states[i]))
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return out, fmt.Errorf("read the state of detector %s: %w", d.config.Name, err)
		}
		m, judged, err := decodeState(d, data)
		if err == nil {
			return kept{machine: m, judged: judged}, nil
		}
		k.logger.Warn("a saved state cannot be read; an older one, or the stored windows, will do", "name", stateName(d, states[i]), "error", err)
	}
	return out, nil
}

// batches reads the batches from a number on, and the number of the next one.
func (k *keeper) batches(ctx context.Context, d *definition, from int64) (all []*incident.Batch, next int64, err error) {
	next, _, _, err = k.log.Open(ctx, k.ref(d))
	for err == nil {
		var some []*incident.Batch
		if some, err = k.log.Batches(ctx, k.ref(d), from-1); err != nil || len(some) == 0 {
			break
		}
		all, from = append(all, some...), some[len(some)-1].N+1
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the incidents of detector %s: %w", d.config.Name, err)
	}
	return all, next, nil
}

// save stores the state and deletes those before the last one.
func (k *keeper) save(ctx context.Context, m *machine) error {
	data, err := m.encode()
	if err != nil {
		return err
	}
	states, err := k.states(ctx, m.def)
	if err != nil {
		return err
	}
	var n int64
	if len(states) > 0 {
		n = states[len(states)-1] + 1
	}
	if err := k.bucket.Put(ctx, stateName(m.def, n), data); err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("put %s: %w", stateName(m.def, n), err)
	}
	for len(states) >= statesKept {
		if err := k.bucket.Delete(ctx, stateName(m.def, states[0])); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("delete %s: %w", stateName(m.def, states[0]), err)
		}
		states = states[1:]
	}
	return nil
}
