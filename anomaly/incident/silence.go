package incident

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// What callers of silences decide on.
var (
	// ErrUnknownSilence says that there is no such silence, or no more.
	ErrUnknownSilence = errors.New("there is no such silence")

	// ErrConfigured says that a silence is maintenance of the configuration.
	ErrConfigured = errors.New("it is maintenance that the configuration holds, and ends there")

	// ErrTooMany says that there are as many silences as there may be.
	ErrTooMany = errors.New("there are as many silences as there may be; delete one that is no more needed")
)

// MaxSilences bounds the silences that are stored.
const MaxSilences = 1000

// keepEnded is how long a silence can be seen after its end.
const keepEnded = 24 * time.Hour

// Silence is a time in which nobody is told of the incidents that match. They
// are recorded all the same.
type Silence struct {
	ID       string    `json:"id"`
	Matchers []Matcher `json:"matchers"` // all of them; none matches everything
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Comment  string    `json:"comment,omitempty"`
	Author   string    `json:"author,omitempty"`
	Created  time.Time `json:"created,omitzero"`

	// Configured says that it is maintenance of the configuration.
	Configured bool `json:"configured,omitempty"`

	compiled Matchers
}

// reason says of a muted incident why.
func (s *Silence) reason() string {
	what, of := "silence "+s.ID, s.Comment
	if s.Configured {
		what = "maintenance"
	}
	if of != "" {
		what += ": " + of
	}
	return what
}

// prepare checks a silence that was given or read.
func (s *Silence) prepare() (err error) {
	s.compiled, err = compile(s.Matchers)
	switch {
	case err != nil:
		return &InvalidError{"matchers", err}
	case !s.From.Before(s.To):
		return &InvalidError{"to", errors.New("the silence ends before it begins")}
	case len(s.Comment) > maxNote:
		return &InvalidError{"comment", fmt.Errorf("it has %d bytes; at most %d", len(s.Comment), maxNote)}
	case len(s.Author) > maxAuthor:
		return &InvalidError{"author", fmt.Errorf("it has %d bytes; at most %d", len(s.Author), maxAuthor)}
	}
	return nil
}

// Bounds on what people write.
const (
	maxNote   = 4000
	maxAuthor = 200
)

const silenceFolder = "_silence/" // no stream's: a stream begins with a letter

// Silences are those of the configuration, and those in the store, which all
// nodes share. It can be used by several goroutines.
type Silences struct {
	settler
	options    Options
	configured []*Silence // never changes

	passed atomic.Int64

	gate   chan struct{} // holds one token while a goroutine looks into the store
	mu     sync.Mutex    // guards what follows
	looked time.Time
	stored map[string]*Silence // by ID, nil of what is no silence; those in it never change
}

// NewSilences returns the silences of a store and of the configuration. It reads
// and starts nothing.
func NewSilences(bucket store.Bucket, maintenance []*weir.MaintenanceConfig, o Options) *Silences {
	o = o.withDefaults()
	s := &Silences{
		settler: settler{bucket: bucket, log: o.Logger},
		options: o,
		gate:    make(chan struct{}, 1),
	}
	for i, m := range maintenance {
		configured := &Silence{
			ID: fmt.Sprintf("maintenance-%d", i+1), From: m.From.Time, To: m.To.Time, Comment: m.Name, Configured: true,
			Matchers: []Matcher{},
		}
		if len(m.Detectors) > 0 {
			configured.Matchers = append(configured.Matchers, Matcher{labelDetector, "=~", strings.Join(m.Detectors, "|")})
		}
		if err := configured.prepare(); err != nil {
			panic(fmt.Sprintf("incident: maintenance %+v was not checked: %v", m, err))
		}
		s.configured = append(s.configured, configured)
	}
	return s
}

// Add stores a silence, and returns it with its ID. Without From it begins now.
func (s *Silences) Add(ctx context.Context, silence Silence) (Silence, error) {
	now := s.options.Now().UTC()
	if silence.From.IsZero() {
		silence.From = now
	}
	silence.ID, silence.Created, silence.Configured = strings.ToLower(rand.Text()[:12]), now, false
	if err := silence.prepare(); err != nil {
		return Silence{}, err
	}
	if !silence.To.After(now) {
		return Silence{}, &InvalidError{"to", errors.New("it has ended already")}
	}
	if len(silence.Matchers) == 0 {
		return Silence{}, &InvalidError{"matchers", errors.New(`there are none; detector=~".+" matches everything`)}
	}
	if err := s.refresh(ctx, 0); err != nil {
		return Silence{}, fmt.Errorf("add silence: %w", err)
	}
	s.mu.Lock()
	n := len(s.stored)
	s.mu.Unlock()
	if n >= MaxSilences {
		return Silence{}, fmt.Errorf("add silence: %w", ErrTooMany)
	}
	data, err := json.Marshal(&silence)
	if err != nil {
		return Silence{}, fmt.Errorf("add silence: %w", err)
	}
	name := silenceFolder + silence.ID
	found, err := s.settle(ctx, name, data)
	if err == nil && !bytes.Equal(found, data) {
		err = errors.New("its random ID is taken")
	}
	if err != nil {
		return Silence{}, fmt.Errorf("add %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[silence.ID] = &silence
	return silence, nil
}

// InvalidError says which part of what was given is wrong, and how.
type InvalidError struct {
	Param string
	Err   error
}

func (e *InvalidError) Error() string { return e.Param + ": " + e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

// List returns the silences, those that end last first, with those that ended
// within a day.
func (s *Silences) List(ctx context.Context) ([]Silence, error) {
	if err := s.refresh(ctx, s.options.MaxAge); err != nil {
		return nil, fmt.Errorf("list silences: %w", err)
	}
	var list []Silence
	for _, silence := range s.known() {
		list = append(list, *silence)
	}
	slices.SortFunc(list, func(a, b Silence) int {
		if c := b.To.Compare(a.To); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// Delete ends a silence for good.
func (s *Silences) Delete(ctx context.Context, id string) error {
	if slices.ContainsFunc(s.configured, func(c *Silence) bool { return c.ID == id }) {
		return fmt.Errorf("delete silence %s: %w", id, ErrConfigured)
	}
	if !isSilenceID(id) {
		return fmt.Errorf("delete silence %.80q: %w", id, ErrUnknownSilence)
	}
	err := s.bucket.Delete(ctx, silenceFolder+id)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrUnknownSilence
	}
	if err != nil && !errors.Is(err, ErrUnknownSilence) {
		return fmt.Errorf("delete silence %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.stored, id)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("delete silence %s: %w", id, err)
	}
	return nil
}

// isSilenceID keeps what strangers send out of names.
func isSilenceID(id string) bool {
	return len(id) == 12 && !strings.ContainsFunc(id, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// Match says why nobody is to be told of the incident at that time, or "". A
// matcher sees the labels detector, stream, severity and value, and the
// dimensions of the series; an incident matches if all its series do. One that
// has more series than it names is not matched by a dimension: give it all of
// them. Where the store is away, the silences hold that were known.
func (s *Silences) Match(ctx context.Context, incident *weir.Incident, at time.Time) (reason string, err error) {
	if err := s.refresh(ctx, s.options.MaxAge); err != nil {
		s.mu.Lock()
		known := s.stored != nil
		s.mu.Unlock()
		if !known || ctx.Err() != nil {
			return "", fmt.Errorf("look for silences: %w", err)
		}
		s.log.Warn("silences could not be looked for; those that were known hold", "err", err)
	}
	for _, silence := range s.known() {
		if !at.Before(silence.From) && at.Before(silence.To) && silence.compiled.silences(incident) {
			return silence.reason(), nil
		}
	}
	return "", nil
}

// silences reports whether all series of the incident match.
func (list Matchers) silences(incident *weir.Incident) bool {
	if incident.Members > len(incident.Series) {
		for i := range list {
			if !isIncidentLabel(list[i].Name) {
				return false
			}
		}
	}
	return list.matches(incident, incident.Series)
}

// known returns the silences, those of the configuration first, then by ID.
func (s *Silences) known() []*Silence {
	list := slices.Clone(s.configured)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, silence := range s.stored {
		if silence != nil {
			list = append(list, silence)
		}
	}
	slices.SortStableFunc(list[len(s.configured):], func(a, b *Silence) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// refresh looks for silences that other nodes added or deleted, and deletes
// those that ended a day ago.
func (s *Silences) refresh(ctx context.Context, maxAge time.Duration) error {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	began := s.options.Now()
	s.mu.Lock()
	fresh := s.stored != nil && maxAge > 0 && began.Sub(s.looked) < maxAge
	var known map[string]*Silence
	if !fresh {
		known = maps.Clone(s.stored) // Add and Delete change it meanwhile
	}
	s.mu.Unlock()
	if fresh {
		return nil
	}
	listed := make(map[string]*Silence)
	for name, err := range s.bucket.List(ctx, silenceFolder, "") {
		if err != nil {
			return fmt.Errorf("list %s: %w", silenceFolder, err)
		}
		if len(listed) >= 2*MaxSilences {
			s.log.Warn("there are more silences than may be; the rest does not count", "most", 2*MaxSilences)
			break
		}
		id := strings.TrimPrefix(name, silenceFolder)
		silence, ok := known[id]
		if !ok {
			var err error
			if silence, err = s.read(ctx, id); err != nil {
				return err
			}
		}
		listed[id] = silence
		if silence != nil && began.Sub(silence.To) > keepEnded {
			if err := s.bucket.Delete(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
				s.log.Warn("a silence that has ended could not be deleted", "silence", id, "err", err)
				continue
			}
			delete(listed, id)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored, s.looked = listed, began
	return nil
}

// read returns nil for what is no silence, or no more.
func (s *Silences) read(ctx context.Context, id string) (*Silence, error) {
	var silence *Silence
	data, err := s.bucket.Read(ctx, silenceFolder+id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !isSilenceID(id) {
		err = errors.New("its name is none of a silence")
	} else if err = json.Unmarshal(data, &silence); err == nil {
		if silence == nil || silence.ID != id || silence.Configured {
			err = errors.New("it does not say what its name does")
		} else {
			err = silence.prepare()
		}
	}
	if err != nil {
		s.passed.Add(1)
		s.log.Warn("an object among the silences is passed over", "object", silenceFolder+id, "err", err)
		return nil, nil
	}
	return silence, nil
}
