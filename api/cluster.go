package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-stream/weir/api/cluster"
)

// ClusterAnswer is what this node knows of all of them.
type ClusterAnswer struct {
	Nodes   []NodeInfo          `json:"nodes" doc:"This node, then the others that share a stream's partitions with it."`
	Streams []ClusterStreamInfo `json:"streams"`
}

// NodeInfo is a process of the cluster.
type NodeInfo struct {
	Name    string `json:"name" example:"weir-1/4711"`
	Address string `json:"address" doc:"Where it answers the others." example:"weir-1:8080"`
	Self    bool   `json:"self" doc:"Whether it is the node that answers here."`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty" doc:"Why it does not answer."`
}

// ClusterStreamInfo is who reads a stream.
type ClusterStreamInfo struct {
	Stream     string                 `json:"stream" example:"flights"`
	Partitions []ClusterPartitionInfo `json:"partitions"`
	Error      string                 `json:"error,omitempty" doc:"Why it is not known who reads it."`
}

// ClusterPartitionInfo is who reads a partition, and how far they have come;
// null where the owner does not say.
type ClusterPartitionInfo struct {
	Partition string     `json:"partition"`
	Owner     *string    `json:"owner" doc:"Name of a node; null if nobody reads it."`
	Committed *int64     `json:"committed" doc:"Offset below which events are in segments."`
	Position  *int64     `json:"position" doc:"Offset of the next event to be read."`
	Lag       *int64     `json:"lag" doc:"What the log holds past the position; null also where unknown."`
	Watermark *time.Time `json:"watermark" doc:"Event time up to which it is believed complete."`
}

type clusterOutput struct{ Body ClusterAnswer }

// showCluster is GET /v1/cluster.
func (s *Server) showCluster(ctx context.Context, _ *struct{}) (*clusterOutput, error) {
	overview, err := inTurn(ctx, s, s.cluster.Overview)
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("show the cluster: %w", err), "path")
	}
	out := &clusterOutput{Body: ClusterAnswer{Nodes: []NodeInfo{}, Streams: []ClusterStreamInfo{}}}
	for _, n := range overview.Nodes {
		info := NodeInfo{Name: n.Name, Address: n.Address, Self: n.Self, Answers: n.Err == nil}
		if n.Err != nil {
			info.Error = n.Err.Error()
		}
		out.Body.Nodes = append(out.Body.Nodes, info)
	}
	for _, stream := range slices.Sorted(maps.Keys(overview.Streams)) {
		info := ClusterStreamInfo{Stream: stream, Partitions: []ClusterPartitionInfo{}}
		if err := overview.Errs[stream]; err != nil {
			info.Error = err.Error()
		}
		for _, p := range overview.Streams[stream] {
			info.Partitions = append(info.Partitions, clusterPartition(p))
		}
		out.Body.Streams = append(out.Body.Streams, info)
	}
	return out, nil
}

func clusterPartition(p cluster.Partition) ClusterPartitionInfo {
	info := ClusterPartitionInfo{Partition: p.Partition}
	if p.Owner != "" {
		info.Owner = &p.Owner
	}
	if p.Known {
		info.Committed, info.Position, info.Watermark = &p.Committed, &p.Position, orNull(p.Watermark)
		if p.Lag >= 0 {
			info.Lag = &p.Lag
		}
	}
	return info
}
