package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

// question is the body of a request for live cells. Its definition is that of
// whoever asks: cells of another one would be misread.
type question struct {
	Definition string `json:"definition"`
	From       int64  `json:"from"`
	To         int64  `json:"to"`
	Where      string `json:"where,omitempty"`
	Measures   []int  `json:"measures,omitempty"` // wanted
	Bare       []int  `json:"bare,omitempty"`     // of them, without their sketch
}

func questionOf(s defined, sel weir.Selection) question {
	q := question{Definition: s.hash, From: sel.From, To: sel.To, Where: sel.Where}
	for i := range s.Measures {
		switch {
		case !sel.Wants(i):
			continue
		case !sel.WantsSketch(i):
			q.Bare = append(q.Bare, i)
		}
		q.Measures = append(q.Measures, i)
	}
	return q
}

func (q *question) selection(s *weir.Stream) (weir.Selection, error) {
	sel := weir.Selection{From: q.From, To: q.To, Where: q.Where,
		Measures: make([]bool, len(s.Measures)), Bare: make([]bool, len(s.Measures))}
	mark := func(list []int, in []bool) error {
		for _, i := range list {
			if i < 0 || i >= len(in) {
				return fmt.Errorf("there is no measure %d", i)
			}
			in[i] = true
		}
		return nil
	}
	if err := errors.Join(mark(q.Measures, sel.Measures), mark(q.Bare, sel.Bare)); err != nil {
		return sel, err
	}
	where, err := query.ParseWhere(q.Where)
	if err != nil {
		return sel, err
	}
	sel.Match, err = where.Match(s)
	return sel, err
}

const maxQuestion = 512 << 10 // a filter has 64 KiB, which JSON may escape

// Handler answers other nodes, from this node's own shards.
func (c *Cluster) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /internal/v1/streams/{stream}/live", c.serveLive)
	mux.HandleFunc("GET /internal/v1/status", c.serveStatus)
	return mux
}

func (c *Cluster) refuse(w http.ResponseWriter, status int, why string) {
	c.metrics.refused.Inc()
	http.Error(w, why, status)
}

func (c *Cluster) serveLive(w http.ResponseWriter, r *http.Request) {
	s, ok := c.streams[r.PathValue("stream")]
	if !ok {
		c.refuse(w, http.StatusNotFound, "there is no such stream here")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	var q question
	if err := json.Unmarshal(body, &q); err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if q.Definition != s.hash {
		c.refuse(w, http.StatusConflict, errDiffers.Error())
		return
	}
	sel, err := q.selection(s.Stream)
	if err != nil {
		c.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), c.options.Patience) // whoever asked waits no longer
	defer cancel()
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		c.refuse(w, http.StatusServiceUnavailable, "too many questions at a time")
		return
	}
	pieces, err := c.options.Owner.Live(ctx, s.Name, sel)
	complaint := ""
	if err != nil {
		complaint = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(appendPieces(nil, pieces, complaint)) // whoever does not listen is not told
}

// nodeStatus is how far the partitions are that one node reads.
type nodeStatus struct {
	Name    string                            `json:"name"`
	Streams map[string][]weir.PartitionStatus `json:"streams"`
}

func (c *Cluster) status() (nodeStatus, error) {
	out := nodeStatus{Name: c.options.Name, Streams: make(map[string][]weir.PartitionStatus)}
	for _, s := range c.options.Streams {
		status, err := c.options.Owner.Status(s.Name)
		if err != nil {
			return out, err
		}
		out.Streams[s.Name] = status.Partitions
	}
	return out, nil
}

func (c *Cluster) serveStatus(w http.ResponseWriter, r *http.Request) {
	status, err := c.status()
	if err != nil {
		http.Error(w, "the status cannot be told", http.StatusInternalServerError)
		c.logger.Error("tell another node the status", "error", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(status)
}

// Node is a process of the cluster.
type Node struct {
	Name    string
	Address string
	Self    bool
	Err     error // why it does not answer, or nil
}

// Partition is a partition, and how far its owner has come with it.
type Partition struct {
	weir.PartitionStatus
	Owner string // name of a node; empty if nobody is known to read it
	Known bool   // whether the owner has said how far it has come
}

// Overview is what a node knows of all of them.
type Overview struct {
	Nodes   []Node                 // this one first, then by name
	Streams map[string][]Partition // by stream, sorted by name
	Errs    map[string]error       // by stream, why its nodes are not known
}

// Overview asks every node how far it has come.
func (c *Cluster) Overview(ctx context.Context) (*Overview, error) {
	own, err := c.status()
	if err != nil {
		return nil, err
	}
	out := &Overview{Nodes: []Node{{Name: c.options.Name, Address: c.options.Address, Self: true}},
		Streams: make(map[string][]Partition), Errs: make(map[string]error)}
	all := make(map[string][]Member)
	var every []Member
	for stream, group := range c.members {
		members, err := c.membersOf(ctx, stream, group)
		if err != nil {
			out.Errs[stream] = err
		}
		all[stream] = members
		every = append(every, members...)
	}
	others := c.others(every)
	slices.SortFunc(others, func(a, b Member) int { return strings.Compare(a.Name+a.Address, b.Name+b.Address) })
	said := c.statuses(ctx, others, out)
	said = append(said, own)
	for _, s := range c.options.Streams {
		out.Streams[s.Name] = partitionsOf(s.Name, all[s.Name], said)
	}
	return out, nil
}

// partitionsOf joins whose the partitions are with what their owners say.
func partitionsOf(stream string, members []Member, said []nodeStatus) []Partition {
	list := []Partition{}
	find := func(name string) *Partition {
		i, ok := slices.BinarySearchFunc(list, name, func(p Partition, name string) int { return strings.Compare(p.Partition, name) })
		if !ok {
			list = slices.Insert(list, i, Partition{PartitionStatus: weir.PartitionStatus{Partition: name}})
		}
		return &list[i]
	}
	for _, m := range members {
		for _, p := range m.Partitions {
			find(p).Owner = m.Name
		}
	}
	for _, node := range said {
		for _, status := range node.Streams[stream] {
			p := find(status.Partition)
			if p.Owner == "" {
				p.Owner = node.Name
			}
			if p.Owner == node.Name { // not one who is just leaving it
				p.PartitionStatus, p.Known = status, true
			}
		}
	}
	return list
}
