package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/klauspost/compress/gzip"

	"github.com/weir-stream/weir"
)

// pushInput is a push. Its body is read by the handler, within a budget, rather
// than by huma.
type pushInput struct {
	Stream          string `path:"stream" maxLength:"256" doc:"Name of the stream." example:"flights"`
	Key             string `header:"Idempotency-Key" maxLength:"255" doc:"Names the batch. A batch that comes again under its key is acknowledged again and counted once; other events under a key that was used are refused."`
	ContentType     string `header:"Content-Type" hidden:"true"`
	ContentEncoding string `header:"Content-Encoding" hidden:"true"`

	request  *http.Request
	response http.ResponseWriter
}

// Resolve takes hold of the request.
func (in *pushInput) Resolve(ctx huma.Context) []error {
	in.request, in.response = humachi.Unwrap(ctx)
	return nil
}

// PushAnswer acknowledges a push: its events are on disk.
type PushAnswer struct {
	Accepted  int    `json:"accepted" doc:"Events that are durable. Those that turn out to be no events are counted as rejected later."`
	Partition string `json:"partition,omitempty" doc:"Partition of the log that holds them. Absent where there were none."`
	Offset    *int64 `json:"offset,omitempty" doc:"Offset of the first one. Absent where there were none."`
	Duplicate bool   `json:"duplicate" doc:"Whether the batch was known by its key, and not counted again."`
}

type pushOutput struct{ Body PushAnswer }

// push is POST /v1/streams/{stream}/events.
func (s *Server) push(ctx context.Context, in *pushInput) (*pushOutput, error) {
	answer, err := s.accept(ctx, in)
	if err != nil {
		p := s.problem(ctx, err, "header")
		s.metrics.refused.WithLabelValues(p.name()).Inc()
		return nil, p
	}
	return &pushOutput{Body: answer}, nil
}

func (s *Server) accept(ctx context.Context, in *pushInput) (PushAnswer, error) {
	stream, err := s.stream(in.Stream, "path")
	if err != nil {
		return PushAnswer{}, err
	}
	if stream.Source.Kind != weir.Push {
		return PushAnswer{}, notPushed.problem("stream %q reads its events from %s; only a stream whose source is push takes them here", stream.Name, stream.Source.Kind)
	}
	if s.stopping() {
		return PushAnswer{}, weir.ErrStopping
	}
	form, err := formOf(in.ContentType)
	if err != nil {
		return PushAnswer{}, err
	}
	body, err := s.receive(in)
	defer body.free()
	if err != nil {
		return PushAnswer{}, err
	}
	lines, events, err := form.lines(body.bytes)
	if err != nil {
		return PushAnswer{}, err
	}
	if events == 0 {
		return PushAnswer{}, nil
	}
	ack, err := s.ingester.Push(ctx, stream.Name, in.Key, lines, events)
	if err != nil {
		return PushAnswer{}, err
	}
	if !ack.Duplicate {
		s.metrics.pushed.WithLabelValues(stream.Name).Add(float64(events))
		s.metrics.bytes.WithLabelValues(stream.Name).Add(float64(len(lines)))
	}
	return PushAnswer{Accepted: events, Partition: ack.Partition, Offset: &ack.Offset, Duplicate: ack.Duplicate}, nil
}

// form is how the events of a body are written down.
type form uint8

const (
	sniffed form = iota // no content type, or one that says nothing
	jsonForm
	ndjsonForm
)

func formOf(contentType string) (form, error) {
	if contentType == "" {
		return sniffed, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch media {
		case "application/json":
			return jsonForm, nil
		case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
			return ndjsonForm, nil
		case "application/octet-stream", "application/x-www-form-urlencoded", "application/gzip", "application/x-gzip":
			return sniffed, nil // what clients say that were not told
		}
	}
	return 0, unsupportedMedia.problem("events come as application/x-ndjson, one a line, or as application/json, an array").
		header("Accept-Post", "application/x-ndjson, application/json").
		mistake("header", "Content-Type", "", "%q is neither application/x-ndjson nor application/json", contentType)
}

// lines turns a body into lines, in place.
func (f form) lines(b []byte) ([]byte, int, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // some clients begin with a byte order mark
	from, to := trim(b, 0, len(b))
	if from == to {
		return nil, 0, nil
	}
	if f == sniffed {
		f = ndjsonForm
		if b[from] == '[' || b[from] == '{' && isOneObject(b) {
			f = jsonForm
		}
	}
	if f == ndjsonForm {
		b, n := linesOfNDJSON(b)
		return b, n, nil
	}
	var n int
	var err error
	switch b[from] {
	case '[':
		b, n, err = linesOfArray(b)
	case '{':
		b, n, err = lineOfObject(b)
	default:
		err = errors.New("it is neither an array of events nor one event; one event a line is application/x-ndjson")
	}
	if err != nil {
		return nil, 0, invalidBody.problem("the body can't be read as application/json: %v", err).
			mistake("body", "body", "", "%v", err)
	}
	return b, n, nil
}

// budget bounds the memory of all bodies together.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// body is what was read, and what it holds of the budget.
type body struct {
	bytes  []byte
	budget *budget
	held   int64
}

func (b *body) free() {
	b.budget.used.Add(-b.held)
	b.held = 0
}

// grow makes room for more: twice as much each time, so that a client holds
// memory for what it sent and not for what it announced.
func (b *body) grow(atMost int64) bool {
	const first = 64 << 10
	size := min(max(first, 2*int64(cap(b.bytes))), atMost)
	if !b.budget.take(size) {
		return false
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	old := b.held
	b.held = size
	b.budget.used.Add(-old)
	return true
}

// receive reads the body of a push, decompressed. The caller frees it, whatever
// the error.
func (s *Server) receive(in *pushInput) (*body, error) {
	b := &body{budget: &s.pushing}
	limit := s.limits.Body
	announced := in.request.ContentLength
	if announced > limit {
		return b, s.tooLarge("%d bytes were announced", announced)
	}
	// The deadline is the body's alone: net/http lifts it at the body's end.
	deadline := time.Now().Add(s.limits.BodyTime)
	if err := http.NewResponseController(in.response).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return b, fmt.Errorf("set the deadline of a pushed body: %w", err)
	}
	var wire io.Reader = http.MaxBytesReader(in.response, in.request.Body, limit)
	atMost := limit + 1 // one more byte tells a body at its limit from one beyond
	compressed := false
	switch coding := strings.ToLower(strings.TrimSpace(in.ContentEncoding)); coding {
	case "", "identity":
		// No text begins like gzip, whatever the headers (do not) say: curl
		// sends a compressed file as it is.
		if wire, compressed = startsGzip(wire); !compressed && announced >= 0 {
			atMost = announced + 1
		}
	case "gzip", "x-gzip":
		compressed = true
	default:
		return b, unsupportedMedia.problem("a body is compressed by gzip or not at all").
			header("Accept-Encoding", "gzip").
			mistake("header", "Content-Encoding", "", "%q is not gzip", coding)
	}
	source := wire
	if compressed {
		z, err := s.gunzip(wire)
		if err != nil {
			return b, s.unreadable(err, true)
		}
		defer s.gzips.Put(z)
		source = z
	}
	for {
		if len(b.bytes) == cap(b.bytes) && !b.grow(atMost) {
			return b, s.crowded()
		}
		n, err := source.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if int64(len(b.bytes)) > limit {
			return b, s.tooLarge("it goes on after them")
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return b, s.unreadable(err, compressed)
		}
	}
	return b, nil
}

// startsGzip reports whether the bytes begin like gzip. The reader it returns
// begins where the one it was given did.
func startsGzip(r io.Reader) (io.Reader, bool) {
	start := make([]byte, 2)
	n, _ := io.ReadFull(r, start) // an error comes again at the next read
	return io.MultiReader(bytes.NewReader(start[:n]), r), string(start[:n]) == "\x1f\x8b"
}

// gunzip returns a reader of what the compressed one holds. It goes back to
// s.gzips.
func (s *Server) gunzip(compressed io.Reader) (*gzip.Reader, error) {
	z, _ := s.gzips.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	if err := z.Reset(compressed); err != nil {
		s.gzips.Put(z)
		return nil, err
	}
	return z, nil
}

func (s *Server) tooLarge(format string, args ...any) *Problem {
	return bodyTooLarge.problem("a body may have %v after decompression, and %s; send the events in several batches",
		weir.Size(s.limits.Body), fmt.Sprintf(format, args...))
}

func (s *Server) crowded() *Problem {
	return behind.problem("the bodies being received already take all of the %v there is for them", weir.Size(s.pushing.limit)).
		retryAfter(time.Second)
}

// unreadable says why a body ended early.
func (s *Server) unreadable(err error, compressed bool) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return s.tooLarge("it goes on after them")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return bodyTimeout.problem("the body did not arrive within %v; send smaller batches", s.limits.BodyTime).header("Connection", "close")
	case compressed:
		return invalidBody.problem("the body is said to be gzip, or begins like it, and can't be decompressed: %v", err).
			mistake("header", "Content-Encoding", "", "the body is not whole gzip")
	}
	return invalidBody.problem("the body ended early: %v", err)
}
