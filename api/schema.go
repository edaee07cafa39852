package api

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// eventsBody documents the body of a push.
func eventsBody() *huma.RequestBody {
	return &huma.RequestBody{
		Required:    true,
		Description: "Events, each a JSON object: one a line, or the elements of an array. The body may be compressed (Content-Encoding: gzip).",
		Content: map[string]*huma.MediaType{
			"application/x-ndjson": {
				Schema:  &huma.Schema{Type: huma.TypeString},
				Example: "{\"time\":\"2001-01-01T00:00:00Z\",\"origin\":\"JFK\",\"delay\":12}\n{\"time\":\"2001-01-01T00:00:01Z\",\"origin\":\"LAX\",\"delay\":3}\n",
			},
			jsonMedia: {
				Schema: &huma.Schema{OneOf: []*huma.Schema{
					{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}},
					{Type: huma.TypeObject, AdditionalProperties: true},
				}},
			},
		},
	}
}

// answerBody documents what query.Answer is in JSON. A test holds one against
// the other.
type answerBody struct {
	Stream     string           `json:"stream"`
	From       time.Time        `json:"from" doc:"Beginning of the range used: the one asked for, widened to whole windows or steps."`
	To         time.Time        `json:"to" doc:"Its end."`
	Step       string           `json:"step,omitempty" doc:"Distance of the points; absent for one answer over the range."`
	Window     string           `json:"window,omitempty" doc:"How much each point looks back on."`
	Confidence float64          `json:"confidence" doc:"Probability that the truth lies between lower and upper."`
	Watermark  *time.Time       `json:"watermark" nullable:"true" doc:"Event time up to which all partitions are believed complete; null if unknown."`
	Complete   bool             `json:"complete" doc:"Whether everything of the range has been seen and counted."`
	Notes      []string         `json:"notes" nullable:"false" doc:"Why not, and whatever else a reader should know."`
	Offsets    map[string]int64 `json:"offsets" doc:"Of each partition the offset below which events are counted."`
	Late       int64            `json:"late" doc:"Events that came when their window was believed complete. They are counted."`
	Rejected   map[string]int64 `json:"rejected" doc:"Events refused while the range was read, by reason."`
	Series     []answerSeries   `json:"series" nullable:"false"`
}

type answerSeries struct {
	By     map[string]string       `json:"by" doc:"Values of the dimensions grouped by."`
	T      []time.Time             `json:"t" nullable:"false" doc:"The points. One tells of [t+step-window, t+step), or of the whole range without a step."`
	Values map[string]answerColumn `json:"values" doc:"By what was selected."`
}

type answerColumn struct {
	Value []any `json:"value" nullable:"false" doc:"One a point: a number, null where there is none, or a list (top: item, count, lower, upper; histogram: lower, upper, count)."`
	Lower []any `json:"lower,omitempty" nullable:"false" doc:"One a point, of estimates."`
	Upper []any `json:"upper,omitempty" nullable:"false" doc:"One a point, of estimates."`
}
