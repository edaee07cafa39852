package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// statuses asks nodes how far they have come, and notes who answers.
func (c *Cluster) statuses(ctx context.Context, others []Member, out *Overview) (said []nodeStatus) {
	replies := make([]nodeStatus, len(others))
	nodes := make([]Node, len(others))
	var asking errgroup.Group
	asking.SetLimit(c.options.Asked)
	for i, m := range others {
		asking.Go(func() error {
			nodes[i] = Node{Name: m.Name, Address: m.Address}
			body, err := c.call(ctx, http.MethodGet, m.Address, "/internal/v1/status", nil)
			if err == nil {
				err = json.Unmarshal(body, &replies[i])
			}
			if err == nil && replies[i].Name != m.Name {
				err = fmt.Errorf("node %s answers there", replies[i].Name)
			}
			nodes[i].Err = err
			return nil
		})
	}
	_ = asking.Wait() // the nodes have their errors
	out.Nodes = append(out.Nodes, nodes...)
	for i := range replies {
		if nodes[i].Err == nil {
			said = append(said, replies[i])
		}
	}
	return said
}
