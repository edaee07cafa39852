package api

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
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

	Select     []string         `json:"select" doc:"What its measures answer, as selects are written."`
	Watermark  *time.Time       `json:"watermark" doc:"Event time up to which all partitions are believed complete; null if unknown."`
	Oldest     *time.Time       `json:"oldest" doc:"Beginning of the oldest window; null before the first event."`
	Newest     *time.Time       `json:"newest" doc:"End of the newest window; null before the first event."`
	Events     int64            `json:"events" doc:"Events counted, those in memory included."`
	Rejected   map[string]int64 `json:"rejected" doc:"Events refused, by reason."`
	Segments   int              `json:"segments" doc:"Segments stored."`
	Partitions []PartitionInfo  `json:"partitions"`
	Gaps       []GapInfo        `json:"gaps" doc:"Stretches of the log that are missing, because they were lost or their segment is damaged."`
	Error      string           `json:"error,omitempty" doc:"Why how far it has come could not be told. What it remembers stands."`
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

// PartitionInfo is how far a partition has come. What only its reader knows is
// null where another process reads it.
type PartitionInfo struct {
	Partition string     `json:"partition"`
	Counted   int64      `json:"counted" doc:"Offset below which events are counted."`
	Committed *int64     `json:"committed" doc:"Offset below which they are in segments."`
	Position  *int64     `json:"position" doc:"Offset of the next event to be read."`
	Lag       *int64     `json:"lag" doc:"What the log holds past the position; null also where unknown."`
	Watermark *time.Time `json:"watermark" doc:"Event time up to which it is believed complete."`
}

// GapInfo is a stretch of a partition's log that is missing.
type GapInfo struct {
	Partition string    `json:"partition"`
	From      int64     `json:"from" doc:"Offset of the first event missing."`
	To        *int64    `json:"to" doc:"Offset after the last one; null where unknown."`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	Since     time.Time `json:"since" doc:"Answers may lack events of this event time on."`
	Until     time.Time `json:"until" doc:"And up to this."`
}

type streamsOutput struct {
	Body struct {
		Streams []StreamInfo `json:"streams"`
	}
}

// listStreams is GET /v1/streams. A stream that cannot be read says so in its
// place, and costs the others nothing.
func (s *Server) listStreams(ctx context.Context, _ *struct{}) (*streamsOutput, error) {
	out := &streamsOutput{}
	out.Body.Streams = make([]StreamInfo, 0, len(s.streams))
	for _, stream := range s.streams {
		status, err := s.ingester.Status(stream.Name)
		if err != nil {
			return nil, s.problem(ctx, fmt.Errorf("list streams: %w", err), "path")
		}
		info, err := s.info(ctx, stream.Name)
		if err != nil {
			p := s.problem(ctx, fmt.Errorf("list stream %s: %w", stream.Name, err), "path")
			if ctx.Err() != nil || p.Status != http.StatusInternalServerError {
				return nil, p
			}
			failed := describe(stream, new(query.Info), status)
			failed.Error = p.Detail
			out.Body.Streams = append(out.Body.Streams, failed)
			continue
		}
		out.Body.Streams = append(out.Body.Streams, describe(stream, info, status))
	}
	return out, nil
}

// info asks the engine about a stream.
func (s *Server) info(ctx context.Context, stream string) (*query.Info, error) {
	return inTurn(ctx, s, func(ctx context.Context) (*query.Info, error) { return s.engine.Info(ctx, stream) })
}

func describe(stream *weir.Stream, info *query.Info, status weir.Status) StreamInfo {
	d := StreamInfo{
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

		Select:     append([]string{}, info.Select...),
		Watermark:  orNull(info.Watermark),
		Oldest:     orNull(info.Oldest),
		Newest:     orNull(info.Newest),
		Events:     info.Events,
		Rejected:   map[string]int64{},
		Segments:   info.Segments,
		Partitions: partitions(info, status),
		Gaps:       []GapInfo{},
	}
	for _, dim := range stream.Dimensions {
		d.Dimensions = append(d.Dimensions, FieldInfo{Name: dim.Name, Field: string(dim.Field)})
	}
	for _, m := range stream.Measures {
		d.Measures = append(d.Measures, MeasureInfo{Name: m.Name, Kind: m.Kind.String(), Field: string(m.Field), Params: m.Params})
	}
	for _, r := range stream.Retention {
		d.Retention = append(d.Retention, RetentionInfo{Window: weir.FormatDuration(r.Window), Keep: weir.FormatDuration(r.Keep)})
	}
	maps.Copy(d.Rejected, info.Rejected)
	for _, g := range info.Gaps {
		gap := GapInfo{
			Partition: g.Partition, From: g.From, Reason: string(g.Reason), Detail: g.Detail,
			Since: time.Unix(0, g.Since).UTC(), Until: time.Unix(0, g.Until).UTC(),
		}
		if g.To != math.MaxInt64 {
			gap.To = &g.To
		}
		d.Gaps = append(d.Gaps, gap)
	}
	return d
}

// partitions joins what answers have reached with what this process's readers
// know.
func partitions(info *query.Info, status weir.Status) []PartitionInfo {
	list := []PartitionInfo{}
	for name, counted := range info.Partitions {
		list = append(list, PartitionInfo{Partition: name, Counted: counted})
	}
	for _, p := range status.Partitions {
		i := slices.IndexFunc(list, func(known PartitionInfo) bool { return known.Partition == p.Partition })
		if i < 0 {
			i = len(list)
			list = append(list, PartitionInfo{Partition: p.Partition, Counted: p.Committed})
		}
		list[i].Committed, list[i].Position, list[i].Watermark = &p.Committed, &p.Position, orNull(p.Watermark)
		if p.Lag >= 0 {
			list[i].Lag = &p.Lag
		}
	}
	slices.SortFunc(list, func(a, b PartitionInfo) int { return strings.Compare(a.Partition, b.Partition) })
	return list
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
	Total   int64            `json:"total" doc:"Events refused."`
	Reasons map[string]int64 `json:"reasons" doc:"The same by reason."`
	Sample  []RejectedEvent  `json:"sample" doc:"Some of those that were refused since the process began, the newest first."`
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
	info, err := s.info(ctx, stream.Name)
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("count rejected events: %w", err), "path")
	}
	rejects, err := s.ingester.Rejected(stream.Name)
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("sample rejected events: %w", err), "path")
	}
	answer := RejectedAnswer{Stream: stream.Name, Reasons: map[string]int64{}, Sample: []RejectedEvent{}}
	for reason, n := range info.Rejected {
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
