package api

import (
	"context"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// StreamInfo is what a stream remembers and how far it has come.
type StreamInfo struct {
	Name       string          `json:"name" example:"flights"`
	Source     string          `json:"source" enum:"push,file,stdin" doc:"Where its events come from."`
	Path       string          `json:"path,omitempty" doc:"Of a file source."`
	Time       TimeInfo        `json:"time"`
	Window     string          `json:"window" doc:"Width of a window, the finest step to ask for." example:"10s"`
	Dimensions []FieldInfo     `json:"dimensions" doc:"What to filter and group by."`
	Measures   []MeasureInfo   `json:"measures" doc:"What is remembered beside the count."`
	Retention  []RetentionInfo `json:"retention" doc:"How long windows of which width are kept; none: for good."`
	MaxSeries  int             `json:"max_series" doc:"Series beyond these are counted together."`

	Watermark  *time.Time      `json:"watermark" doc:"Event time up to which all partitions are believed complete; null before the first event."`
	Events     int64           `json:"events" doc:"Events counted."`
	Rejected   int64           `json:"rejected" doc:"Events refused."`
	Partitions []PartitionInfo `json:"partitions"`
}

// TimeInfo is where the event time stands.
type TimeInfo struct {
	Field    string `json:"field" example:"time"`
	Format   string `json:"format" example:"rfc3339"`
	Lateness string `json:"lateness" doc:"How far the watermark trails the newest event." example:"10s"`
}

// FieldInfo is a dimension.
type FieldInfo struct {
	Name  string `json:"name" example:"origin"`
	Field string `json:"field" doc:"Path of the field in an event." example:"origin"`
}

// MeasureInfo is a measure.
type MeasureInfo struct {
	Name   string      `json:"name" example:"delay"`
	Kind   string      `json:"kind" enum:"sum,quantile,distinct,top,frequency"`
	Field  string      `json:"field" doc:"Path of the field in an event." example:"delay"`
	Params weir.Params `json:"params" doc:"Parameters of its sketch."`
}

// RetentionInfo keeps windows of one width for a time.
type RetentionInfo struct {
	Window string `json:"window" example:"1m"`
	Keep   string `json:"keep" example:"14d"`
}

// PartitionInfo is how far a partition has come.
type PartitionInfo struct {
	Partition string     `json:"partition"`
	Committed int64      `json:"committed" doc:"Offset up to which segments speak."`
	Position  int64      `json:"position" doc:"Offset of the next event to be read."`
	Lag       *int64     `json:"lag" doc:"What the log holds past the position; null where unknown."`
	Watermark *time.Time `json:"watermark"`
}

type streamsOutput struct {
	Body struct {
		Streams []StreamInfo `json:"streams"`
	}
}

// listStreams is GET /v1/streams.
func (s *Server) listStreams(ctx context.Context, _ *struct{}) (*streamsOutput, error) {
	out := &streamsOutput{}
	out.Body.Streams = make([]StreamInfo, 0, len(s.streams))
	for _, stream := range s.streams {
		status, err := s.ingester.Status(stream.Name)
		if err != nil {
			return nil, s.problem(ctx, err, "path")
		}
		out.Body.Streams = append(out.Body.Streams, describe(stream, status))
	}
	return out, nil
}

func describe(stream *weir.Stream, status weir.Status) StreamInfo {
	info := StreamInfo{
		Name:   stream.Name,
		Source: string(stream.Source.Kind),
		Path:   stream.Source.Path,
		Time: TimeInfo{
			Field:    string(stream.Time.Field),
			Format:   string(stream.Time.Format),
			Lateness: weir.FormatDuration(stream.Time.Lateness),
		},
		Window:     weir.FormatDuration(stream.Window),
		Dimensions: []FieldInfo{},
		Measures:   []MeasureInfo{},
		Retention:  []RetentionInfo{},
		MaxSeries:  stream.MaxSeries,
		Watermark:  orNull(status.Watermark),
		Events:     status.Events,
		Rejected:   status.Rejected,
		Partitions: []PartitionInfo{},
	}
	for _, d := range stream.Dimensions {
		info.Dimensions = append(info.Dimensions, FieldInfo{Name: d.Name, Field: string(d.Field)})
	}
	for _, m := range stream.Measures {
		info.Measures = append(info.Measures, MeasureInfo{Name: m.Name, Kind: m.Kind.String(), Field: string(m.Field), Params: m.Params})
	}
	for _, r := range stream.Retention {
		info.Retention = append(info.Retention, RetentionInfo{Window: weir.FormatDuration(r.Window), Keep: weir.FormatDuration(r.Keep)})
	}
	for _, p := range status.Partitions {
		partition := PartitionInfo{Partition: p.Partition, Committed: p.Committed, Position: p.Position, Watermark: orNull(p.Watermark)}
		if p.Lag >= 0 {
			partition.Lag = &p.Lag
		}
		info.Partitions = append(info.Partitions, partition)
	}
	return info
}

// orNull is nil for a time that is not known.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// RejectedAnswer is what decode refused of a stream.
type RejectedAnswer struct {
	Stream  string           `json:"stream"`
	Total   int64            `json:"total" doc:"Events refused since the process began."`
	Reasons map[string]int64 `json:"reasons" doc:"The same by reason."`
	Sample  []RejectedEvent  `json:"sample" doc:"Some of them, the newest first."`
}

// RejectedEvent is one of them.
type RejectedEvent struct {
	Reason    string    `json:"reason" example:"bad_time"`
	Line      string    `json:"line" doc:"How the event begins."`
	Partition string    `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time" doc:"When it was refused."`
}

type streamInput struct {
	Stream string `path:"stream" maxLength:"256" doc:"Name of the stream." example:"flights"`
}

type rejectedOutput struct{ Body RejectedAnswer }

// rejected is GET /v1/streams/{stream}/rejected.
func (s *Server) rejected(ctx context.Context, in *streamInput) (*rejectedOutput, error) {
	stream, err := s.stream(in.Stream, "path")
	if err != nil {
		return nil, err
	}
	rejects, err := s.ingester.Rejected(stream.Name)
	if err != nil {
		return nil, s.problem(ctx, err, "path")
	}
	answer := RejectedAnswer{Stream: stream.Name, Reasons: map[string]int64{}, Sample: []RejectedEvent{}}
	for reason, n := range rejects.ByReason {
		answer.Reasons[reason] = n
		answer.Total += n
	}
	for _, r := range rejects.Sample {
		answer.Sample = append(answer.Sample, RejectedEvent{
			Reason: r.Reason, Line: r.Excerpt, Partition: r.Partition, Offset: r.Offset, Time: r.Time.UTC(),
		})
	}
	return &rejectedOutput{Body: answer}, nil
}

// stream finds a stream by its name; in says where the name stood.
func (s *Server) stream(name, in string) (*weir.Stream, error) {
	names := make([]string, 0, len(s.streams))
	for _, stream := range s.streams {
		if stream.Name == name {
			return stream, nil
		}
		names = append(names, stream.Name)
	}
	suggestion := nearest(name, names)
	p := unknownStream.problem("there is no stream %q; there are %s", name, strings.Join(names, ", "))
	if len(names) == 0 {
		p = unknownStream.problem("there is no stream %q; none is configured", name)
	}
	p.mistake(in, "stream", suggestion, "no stream has this name")
	if suggestion != "" {
		p.Detail += "; did you mean \"" + suggestion + "\"?"
	}
	return nil, p
}
