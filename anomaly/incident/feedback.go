package incident

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weir-stream/weir/store"
)

// Feedback is what somebody says of an incident.
type Feedback struct {
	N        int64     `json:"n"`
	Incident string    `json:"incident"`
	Alarm    bool      `json:"alarm"` // true: it was one; false: it was none
	Note     string    `json:"note,omitempty"`
	Author   string    `json:"author,omitempty"`
	Recorded time.Time `json:"recorded"`
	ID       string    `json:"id"` // random, by which a writer knows its own again
}

// MaxFeedback bounds what is kept of one incident.
const MaxFeedback = 100

// ErrFeedbackFull says that as much was said of an incident as is kept.
var ErrFeedbackFull = fmt.Errorf("%d times something was said of this incident, which is as much as is kept", MaxFeedback)

func (h *history) feedbackFolder(id string) string { return h.ref.Stream + "/feedback/" + id + "/" }

// AddFeedback stores what is said of an incident, and returns it with its number.
func (l *Log) AddFeedback(ctx context.Context, f Feedback) (Feedback, error) {
	h, opened, err := l.find(f.Incident)
	if err != nil {
		return Feedback{}, err
	}
	if len(f.Note) > maxNote {
		return Feedback{}, &InvalidError{"note", fmt.Errorf("it has %d bytes; at most %d", len(f.Note), maxNote)}
	}
	if len(f.Author) > maxAuthor {
		return Feedback{}, &InvalidError{"author", fmt.Errorf("it has %d bytes; at most %d", len(f.Author), maxAuthor)}
	}
	b, err := h.readBatch(ctx, opened)
	if passable(err) || err == nil && b.record(f.Incident) == nil {
		return Feedback{}, fmt.Errorf("incident %s: %w", f.Incident, ErrUnknown)
	}
	if err != nil {
		return Feedback{}, fmt.Errorf("feedback on incident %s: %w", f.Incident, err)
	}
	f.Recorded, f.ID = l.now().UTC(), rand.Text()
	numbers, err := h.feedbackNumbers(ctx, f.Incident)
	if err != nil {
		return Feedback{}, err
	}
	f.N = 0
	if len(numbers) > 0 {
		f.N = numbers[len(numbers)-1] + 1
	}
	for ; f.N < MaxFeedback; f.N++ {
		data, err := json.Marshal(&f)
		if err != nil {
			return Feedback{}, fmt.Errorf("feedback on incident %s: %w", f.Incident, err)
		}
		found, err := l.settle(ctx, h.feedbackFolder(f.Incident)+number(f.N), data)
		if err != nil {
			return Feedback{}, fmt.Errorf("feedback on incident %s: %w", f.Incident, err)
		}
		if bytes.Equal(found, data) {
			return f, nil
		}
	}
	return Feedback{}, fmt.Errorf("feedback on incident %s: %w", f.Incident, ErrFeedbackFull)
}

// Feedback returns what was said of an incident, in order.
func (l *Log) Feedback(ctx context.Context, id string) ([]Feedback, error) {
	h, _, err := l.find(id)
	if err != nil {
		return nil, err
	}
	numbers, err := h.feedbackNumbers(ctx, id)
	if err != nil {
		return nil, err
	}
	list := []Feedback{}
	for _, n := range numbers {
		name := h.feedbackFolder(id) + number(n)
		data, err := l.bucket.Read(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("feedback on incident %s: %w", id, err)
		}
		var f Feedback
		if err := json.Unmarshal(data, &f); err != nil || f.Incident != id || f.N != n {
			l.report(&l.damaged, name, errors.Join(errors.New("it is no feedback of this incident"), err))
			continue
		}
		list = append(list, f)
	}
	return list, nil
}

func (h *history) feedbackNumbers(ctx context.Context, id string) ([]int64, error) {
	folder := h.feedbackFolder(id)
	var numbers []int64
	for name, err := range h.log.bucket.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("feedback on incident %s: %w", id, err)
		}
		n, err := parseNumber(strings.TrimPrefix(name, folder))
		if err != nil || n >= MaxFeedback {
			h.log.report(&h.log.foreign, name, errors.New("it is no feedback of this incident"))
			continue
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
