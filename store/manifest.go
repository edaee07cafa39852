package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Manifest is what compaction made of all chains of a stream up to a frontier
// in each: exactly its blocks count, and the walk of each chain from there. The
// one with the highest number speaks. It is stored as JSON.
//
// Version history: 1, the first.
type Manifest struct {
	Format     int                          `json:"format"`
	ID         string                       `json:"id"` // random; two that were made for one number differ in it
	N          int64                        `json:"n"`
	Written    time.Time                    `json:"written"`
	Partitions map[string]ManifestPartition `json:"partitions"`
	Blocks     []Block                      `json:"blocks"`
	Gaps       []Gap                        `json:"gaps,omitempty"`
	Horizons   []Horizon                    `json:"horizons,omitempty"`
	Events     int64                        `json:"events"`
	Expired    int64                        `json:"expired"` // events of windows that retention dropped
}

// ManifestPartition is how far a manifest speaks for one partition, and what
// the segment that ended there said.
type ManifestPartition struct {
	Frontier  int64    `json:"frontier"`
	Log       string   `json:"log"`
	Shift     int64    `json:"shift"`
	Tail      []byte   `json:"tail,omitempty"`
	Watermark int64    `json:"watermark"`
	Left      []string `json:"left,omitempty"` // logs that the chain left, never to return to
}

// Block is an object of merged cells.
type Block struct {
	Name    string        `json:"name"`
	Width   time.Duration `json:"width_ns"` // of its windows
	MinTime int64         `json:"min_time"` // windows start in [MinTime, MaxTime), Unix ns
	MaxTime int64         `json:"max_time"`
	Events  int64         `json:"events"`
}

// Horizon says that windows before a time have at least a width, or that there
// are none any more. It holds for blocks, segments and live cells alike.
type Horizon struct {
	Before  int64         `json:"before"` // Unix ns
	Width   time.Duration `json:"width_ns,omitempty"`
	Dropped bool          `json:"dropped,omitempty"`
}

const manifestFormat = 1

// EncodeManifest returns the manifest as it is stored.
func EncodeManifest(m *Manifest) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode manifest %d: %w", m.N, err)
	}
	return json.MarshalIndent(m, "", "  ")
}

// DecodeManifest reads a stored manifest.
func DecodeManifest(data []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	return m, nil
}

func (m *Manifest) validate() error {
	switch {
	case m.Format != manifestFormat:
		return fmt.Errorf("format %d is not one this program reads (%d)", m.Format, manifestFormat)
	case m.ID == "":
		return errors.New("it has no id")
	case m.N < 1:
		return fmt.Errorf("its number is %d", m.N)
	case m.Events < 0 || m.Expired < 0:
		return fmt.Errorf("it counts %d events and %d expired ones", m.Events, m.Expired)
	}
	for name, p := range m.Partitions {
		if p.Frontier < 0 {
			return fmt.Errorf("the frontier of partition %q is %d", name, p.Frontier)
		}
	}
	return nil
}

// frontier returns from where the chain of a partition is walked.
func (m *Manifest) frontier(partition string) int64 {
	if m == nil {
		return 0
	}
	return m.Partitions[partition].Frontier
}

func (m *Manifest) number() int64 {
	if m == nil {
		return 0
	}
	return m.N
}

// newestManifest returns the number of the highest-numbered manifest, 0 where
// there is none. It lists, and never probes for n+1: the manifests before the
// newest may be gone.
func newestManifest(ctx context.Context, bucket Bucket, stream string, known int64) (int64, error) {
	after := ""
	if known > 0 {
		after = manifestName(stream, known)
	}
	newest := known
	for name, err := range bucket.List(ctx, manifestFolder(stream), after) {
		if err != nil {
			return 0, err
		}
		n, err := lastNumber(name)
		if err != nil || n < 1 || n == math.MaxInt64 {
			continue // not a name that we write
		}
		newest = max(newest, n)
	}
	return newest, nil
}

func readManifest(ctx context.Context, bucket Bucket, stream string, n int64) (*Manifest, error) {
	name := manifestName(stream, n)
	data, err := bucket.Read(ctx, name)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if m.N != n {
		return nil, fmt.Errorf("%s: its number is %d", name, m.N)
	}
	return m, nil
}
