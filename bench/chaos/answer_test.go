package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	selected = "count,n.sum,user.distinct"
	earliest = "2020-01-01T00:00:00Z"
	forever  = "2100-01-01T00:00:00Z"

	window = 2 * time.Second

	// A node that nothing was done to answers within this time, whatever is the
	// matter with the others and with the store.
	answerLimit = 30 * time.Second
)

// answer is one of a node, as it came.
type answer struct {
	node int
	life int64 // of the node: its processes are numbered

	To       time.Time
	Complete bool
	Notes    []string
	Offsets  map[string]int64
	Water    *time.Time `json:"watermark"`
	Rejected map[string]int64
	Series   []series
}

type series struct {
	By     map[string]string
	Values map[string]estimates
}

type estimates struct{ Value, Lower, Upper []float64 }

func (a *answer) totals() (sum perKey, err error) {
	for _, s := range a.Series {
		k, err := strconv.Atoi(strings.TrimPrefix(s.By["key"], "k"))
		if err != nil || k >= keys || sum[k].count != 0 {
			return sum, fmt.Errorf("a series of key %q", s.By["key"])
		}
		count, total := s.Values["count"].Value, s.Values["n.sum"].Value
		if len(count) != 1 || len(total) != 1 {
			return sum, fmt.Errorf("series %q has %d counts and %d sums", s.By["key"], len(count), len(total))
		}
		sum[k] = totals{int64(count[0]), int64(total[0])}
	}
	return sum, nil
}

func (a *answer) String() string {
	complete := "incomplete"
	if a.Complete {
		complete = "complete"
	}
	sum, _ := a.totals()
	return fmt.Sprintf("node %d (process %d) up to %s, %s: %v at offsets %v, notes %q", a.node, a.life, a.To.Format("15:04:05"), complete, sum, a.Offsets, a.Notes)
}

// ask asks a node for all keys of everything before a time. An answer that did
// not come has a reason.
func (n *node) ask(ctx context.Context, to string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	before := n.lives.Load()
	q := url.Values{"stream": {"numbers"}, "select": {selected}, "by": {"key"}, "from": {earliest}, "to": {to}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+"/v1/query?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := n.w.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, &refusal{status: response.Status, body: string(body)}
	}
	a := &answer{node: n.name}
	if err := json.Unmarshal(body, a); err != nil {
		return nil, fmt.Errorf("%w in %.200q", err, body)
	}
	if a.life = n.lives.Load(); a.life != before {
		return nil, errors.New("the process was started anew meanwhile")
	}
	return a, nil
}

// refusal is an answer that says why it is none.
type refusal struct{ status, body string }

func (r *refusal) Error() string { return r.status + ": " + r.body }

// watch keeps asking a node: for all there is, and for all before the watermark,
// which may be complete.
func (w *world) watch(n *node) {
	for w.watching.Err() == nil {
		to := forever
		for range 2 {
			struck, asked := n.struck.Load(), time.Now()
			a, err := n.ask(w.watching, to)
			w.judge.took(n, struck, asked, err)
			if err != nil {
				break
			}
			w.judge.hear(a)
			if a.Water == nil {
				break
			}
			to = a.Water.Truncate(window).Format(time.RFC3339)
		}
		pause(w.watching, 300*time.Millisecond)
	}
}
