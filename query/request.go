package query

import (
	"strconv"
	"strings"
	"time"
)

// DefaultConfidence is the confidence of bounds where none is asked for.
const DefaultConfidence = 0.95

// Request is a question.
type Request struct {
	Stream string
	Select []Expression
	By     []string // dimensions; a series for each combination of their values
	Where  Where

	// The range [From, To) of event time. From defaults to the oldest event
	// stored; To to the end of the newest window, or to now where From lies past
	// that. The range is widened to whole windows (with a step, to whole steps,
	// which are aligned to UTC, weeks to Mondays), and the answer says the range
	// used.
	From, To Instant

	Step       time.Duration // 0: one answer over the whole range
	Window     time.Duration // 0: the step. Wider: a sliding window
	Confidence float64       // of lower and upper; 0 means DefaultConfidence
	Limits     Limits        // tighter than the engine's, where not 0
}

// Text is a question in the words of HTTP and the command line. Everything but
// Stream and Select may be blank.
type Text struct {
	Stream, Select, By, Where, From, To, Step, Window, Confidence string
}

// Parse reads a question. Its error is a [*ParamError].
func Parse(t Text) (Request, error) {
	r := Request{Stream: strings.TrimSpace(t.Stream)}
	var err error
	if r.Select, err = ParseSelect(t.Select); err != nil {
		return Request{}, err
	}
	if r.By, err = ParseBy(t.By); err != nil {
		return Request{}, err
	}
	if r.Where, err = ParseWhere(t.Where); err != nil {
		return Request{}, err
	}
	if r.From, err = ParseInstant("from", t.From); err != nil {
		return Request{}, err
	}
	if r.To, err = ParseInstant("to", t.To); err != nil {
		return Request{}, err
	}
	if r.Step, err = parseOptionalDuration("step", t.Step); err != nil {
		return Request{}, err
	}
	if r.Window, err = parseOptionalDuration("window", t.Window); err != nil {
		return Request{}, err
	}
	if r.Confidence, err = parseConfidence(t.Confidence); err != nil {
		return Request{}, err
	}
	return r, nil
}

func parseOptionalDuration(param, text string) (time.Duration, error) {
	if strings.TrimSpace(text) == "" {
		return 0, nil
	}
	return ParseDuration(param, text)
}

func parseConfidence(text string) (float64, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return DefaultConfidence, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	c, err := strconv.ParseFloat(number, 64)
	if percent {
		c /= 100
	}
	if err != nil || !validConfidence(c) {
		return 0, wrong("confidence", "%q does not lie between 0 and 1; write 0.95 or 95%%", text)
	}
	return c, nil
}

func validConfidence(c float64) bool { return c > 0 && c < 1 }
