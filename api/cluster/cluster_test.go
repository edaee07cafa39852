package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner holds cells of some partitions.
type owner struct {
	partitions []string
	err        error
}

func (o owner) Live(_ context.Context, _ string, sel weir.Selection) (pieces []weir.Piece, err error) {
	for _, p := range o.partitions {
		cells := *somePieces()[1].Cells
		if sel.Match != nil {
			filter(&cells, sel.Match)
		}
		pieces = append(pieces, weir.Piece{Partition: p, From: 3, To: 9, Log: "l", Events: 10, Cells: &cells})
	}
	return pieces, o.err
}

func (o owner) Status(string) (weir.Status, error) {
	var s weir.Status
	for _, p := range o.partitions {
		s.Partitions = append(s.Partitions, weir.PartitionStatus{Partition: p, Committed: 3, Position: 9, Lag: 1})
	}
	return s, nil
}

// world is a group of nodes that a test changes.
type world struct {
	t       *testing.T
	members []Member
	err     error
	asked   atomic.Int64
}

func (w *world) Members(context.Context) ([]Member, error) {
	w.asked.Add(1)
	return w.members, w.err
}

func (w *world) cluster(name string, s *weir.Stream, o owner) *Cluster {
	c := New(Options{Name: name, Address: name + ":1", Streams: []*weir.Stream{s}, Owner: o,
		Groups: map[string]Group{s.Name: w}, Patience: 300 * time.Millisecond})
	w.t.Cleanup(func() { c.Close() })
	return c
}

// node is another node, under a handler that a test may put around its own.
func (w *world) node(name string, s *weir.Stream, o owner, around func(http.Handler) http.Handler) {
	handler := w.cluster(name, s, o).Handler()
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	w.members = append(w.members, Member{Name: name, Address: server.Listener.Addr().String(), Partitions: o.partitions})
}

func all() weir.Selection { return weir.Selection{From: -1 << 62, To: 1 << 62} }

func partitions(pieces []weir.Piece) (names []string) {
	for _, p := range pieces {
		names = append(names, p.Partition)
	}
	slices.Sort(names)
	return names
}

func TestLiveCellsOfEveryNode(t *testing.T) {
	w, s := &world{t: t}, numbers()
	c := w.cluster("a", s, owner{partitions: []string{"p0"}})
	w.members = []Member{{Name: "a", Address: "a:1", Partitions: []string{"p0"}}}
	w.node("b", s, owner{partitions: []string{"p1", "p2"}}, nil)
	w.node("c", s, owner{partitions: []string{"p3"}}, nil)
	where, err := query.ParseWhere("key=a")
	if err != nil {
		t.Fatal(err)
	}
	match, err := where.Match(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{where.String(), ""} { // without the text, what comes is filtered here
		sel := all()
		sel.Match, sel.Where, sel.Measures = match, text, []bool{true, false, false}
		pieces, err := c.Live(t.Context(), s.Name, sel)
		if err != nil {
			t.Fatal(err)
		}
		if got := partitions(pieces); !slices.Equal(got, []string{"p0", "p1", "p2", "p3"}) {
			t.Errorf("pieces of %v", got)
		}
		for _, p := range pieces {
			if len(p.Cells.Series) != 2 || p.Cells.Rows() != 3 || p.Cells.Starts[2] != 3 {
				t.Errorf("partition %s: %+v does not match key=a alone", p.Partition, p.Cells)
			}
		}
	}
	if n := w.asked.Load(); n != 1 {
		t.Errorf("the group was asked %d times within a moment", n)
	}
	o, err := c.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, owner := range []string{"a", "b", "b", "c"} {
		if p := o.Streams["numbers"][i]; p.Owner != owner || !p.Known || p.Position != 9 {
			t.Errorf("%+v should be of %s", p, owner)
		}
	}
}

// What a node does not answer for is named, and a question never waits long.
func TestNodesThatDoNotAnswer(t *testing.T) {
	other := numbers()
	other.Window = time.Minute
	hang := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // before that, a server does not see that the client is gone
			<-r.Context().Done()
		})
	}
	cut := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		})
	}
	for name, test := range map[string]struct {
		stream *weir.Stream
		owner  owner
		around func(http.Handler) http.Handler
		want   string
		some   bool // a part of it is used all the same
	}{
		"hangs":             {numbers(), owner{partitions: []string{"p1"}}, hang, "partition p1 (node b at ADDRESS: no answer within 300ms", false},
		"cuts":              {numbers(), owner{partitions: []string{"p1"}}, cut, "partition p1 (node b at ADDRESS: its answer is malformed", false},
		"defines otherwise": {other, owner{partitions: []string{"p1"}}, nil, "it defines the stream differently", false},
		"has a part":        {numbers(), owner{partitions: []string{"p1"}, err: errors.New("p2 is\nstuck")}, nil, "p2 is; stuck", true},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := &world{t: t}, numbers()
			c := w.cluster("a", s, owner{partitions: []string{"p0"}})
			w.node("b", test.stream, test.owner, test.around)
			for range 3 { // later, it may not be asked at all
				began := time.Now()
				pieces, err := c.Live(t.Context(), s.Name, all())
				if err == nil || slices.Contains(partitions(pieces), "p1") != test.some || !slices.Contains(partitions(pieces), "p0") {
					t.Fatalf("pieces of %v, error %v", partitions(pieces), err)
				}
				want := strings.ReplaceAll(test.want, "ADDRESS", w.members[0].Address)
				if name == "hangs" && strings.Contains(err.Error(), "silent a moment ago") {
					want = "partition p1 (node b"
				}
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
			}
		})
	}
}

// A partition whose owner has nothing to say of it, since it is just beginning
// or was given it a moment ago, is missing.
func TestPartitionThatNobodyAnswersFor(t *testing.T) {
	w, s := &world{t: t}, numbers()
	w.members = []Member{{Name: "a", Address: "a:1", Partitions: []string{"p0", "p1"}}}
	c := w.cluster("a", s, owner{partitions: []string{"p0"}})
	_, err := c.Live(t.Context(), s.Name, all())
	var missing *Missing
	if !errors.As(err, &missing) || !slices.Equal(missing.Partitions, []string{"p1"}) {
		t.Errorf("error %v, want p1 missing", err)
	}
}

// A group that was never heard of makes an answer incomplete; one that was, and
// now cannot be asked, is believed to be as it was.
func TestGroupThatIsNotKnown(t *testing.T) {
	w, s := &world{t: t}, numbers()
	c := w.cluster("a", s, owner{partitions: []string{"p0"}})
	pieces, err := c.Live(t.Context(), s.Name, all())
	if err == nil || len(pieces) != 1 {
		t.Fatalf("%d pieces, error %v", len(pieces), err)
	}
	w.members = []Member{{Name: "a", Partitions: []string{"p0"}}}
	for _, w.err = range []error{nil, errors.New("no broker")} {
		time.Sleep(membersTTL) // or what was said before would do
		if _, err = c.Live(t.Context(), s.Name, all()); err != nil {
			t.Error(err)
		}
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	w, s := &world{t: t}, numbers()
	c := w.cluster("a", s, owner{})
	hash := c.streams[s.Name].hash
	for name, test := range map[string]struct {
		path, body string
		status     int
	}{
		"another stream": {"nothing", "{}", http.StatusNotFound},
		"no JSON":        {s.Name, "live!", http.StatusBadRequest},
		"no definition":  {s.Name, "{}", http.StatusConflict},
		"a measure":      {s.Name, `{"definition": "` + hash + `", "measures": [3]}`, http.StatusBadRequest},
		"a filter":       {s.Name, `{"definition": "` + hash + `", "where": "color=red"}`, http.StatusBadRequest},
		"too long":       {s.Name, strings.Repeat(" ", maxQuestion+1), http.StatusBadRequest},
		"fine":           {s.Name, `{"definition": "` + hash + `", "where": "key=a"}`, http.StatusOK},
	} {
		answer := httptest.NewRecorder()
		c.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/internal/v1/streams/"+test.path+"/live", strings.NewReader(test.body)))
		if answer.Code != test.status {
			t.Errorf("%s: status %d, want %d: %s", name, answer.Code, test.status, answer.Body)
		}
	}
}

// A partition that moved is asked of its new owner at once, though the group was
// asked not long ago: the old owner no longer answers for it.
func TestPartitionThatMoved(t *testing.T) {
	w, s := &world{t: t}, numbers()
	c := w.cluster("a", s, owner{partitions: []string{"p0"}})
	w.node("b", s, owner{}, nil)
	b := w.members[0]
	b.Partitions = []string{"p1"} // it gave it up a moment ago
	w.members = []Member{b}
	if _, err := c.Live(t.Context(), s.Name, all()); err == nil {
		t.Fatal("nobody answers for p1, and the answer is complete")
	}
	b.Partitions = nil
	w.members = []Member{b}
	w.node("c", s, owner{partitions: []string{"p1"}}, nil)
	time.Sleep(2 * membersAge)
	pieces, err := c.Live(t.Context(), s.Name, all())
	if err != nil || !slices.Equal(partitions(pieces), []string{"p0", "p1"}) {
		t.Errorf("pieces of %v, error %v", partitions(pieces), err)
	}
	// What stays missing costs the group a question now and then, not each time.
	w.members = slices.Clone(w.members)
	w.members[1].Partitions = []string{"p1", "p2"}
	time.Sleep(membersTTL)
	asked := w.asked.Load()
	for began := time.Now(); time.Since(began) < 5*membersAge; {
		if _, err := c.Live(t.Context(), s.Name, all()); err == nil {
			t.Fatal("nobody answers for p2, and the answer is complete")
		}
	}
	if n := w.asked.Load() - asked; n > 6 {
		t.Errorf("the group was asked %d times within %v", n, 5*membersAge)
	}
}

// A node is ready once it knows the others, or cannot; and in the end in any case.
func TestReady(t *testing.T) {
	w, s := &world{t: t}, numbers()
	c := w.cluster("a", s, owner{})
	if err := c.Ready(); !errors.Is(err, errForming) || !strings.Contains(err.Error(), s.Name) {
		t.Errorf("ready while the group forms: %v", err)
	}
	c.began = c.began.Add(-formingGrace)
	if err := c.Ready(); err != nil {
		t.Errorf("not ready after %v: %v", formingGrace, err)
	}
	for _, w.err = range []error{nil, errors.New("no broker")} {
		w.members = []Member{{Name: "a", Partitions: []string{"p0"}}}
		c = w.cluster("a", s, owner{})
		if err := c.Ready(); err != nil {
			t.Errorf("with %v: %v", w.err, err)
		}
	}
}
