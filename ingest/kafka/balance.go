package kafka

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
)

// balancer shares the partitions of topics among the members of a group: each
// gets as many as any other, give or take one, and as far as that allows, what
// it had. The member that leads the group runs it for all.
type balancer struct {
	self func() claim
}

// claim is what a member tells the group when it joins: who it is, and what it
// had. It travels in the member's user data, where everyone can read it.
type claim struct {
	Node
	Generation int32 `json:"generation"`
	Partitions []int `json:"partitions,omitempty"` // of the one topic that it reads
}

const protocolName = "weir-sticky"

func (b balancer) ProtocolName() string { return protocolName }

func (b balancer) UserData() ([]byte, error) { return json.Marshal(b.self()) }

func (b balancer) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	out := make(kafkago.GroupMemberAssignments)
	topics := make(map[string][]int)
	for _, p := range partitions {
		topics[p.Topic] = append(topics[p.Topic], p.ID)
	}
	for _, m := range members {
		out[m.ID] = make(map[string][]int)
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		var readers []reader
		for _, m := range members {
			if slices.Contains(m.Topics, topic) {
				r := reader{id: m.ID}
				_ = json.Unmarshal(m.UserData, &r.claim) // what another program wrote there is no claim
				readers = append(readers, r)
			}
		}
		for id, got := range share(readers, topics[topic]) {
			out[id][topic] = got
		}
	}
	return out
}

type reader struct {
	id    string
	claim claim
}

// share deals the partitions out. A partition that two claim goes to the one
// who had it in the later generation.
func share(readers []reader, partitions []int) map[string][]int {
	if len(readers) == 0 {
		return nil
	}
	slices.SortFunc(readers, func(a, b reader) int {
		return cmp.Or(cmp.Compare(b.claim.Generation, a.claim.Generation), cmp.Compare(a.id, b.id))
	})
	left := make(map[int]bool, len(partitions))
	for _, p := range partitions {
		left[p] = true
	}
	kept := make([][]int, len(readers))
	for i, r := range readers {
		for _, p := range slices.Sorted(slices.Values(r.claim.Partitions)) {
			if left[p] {
				delete(left, p)
				kept[i] = append(kept[i], p)
			}
		}
	}
	// Those who have most may keep the odd ones.
	order := make([]int, len(readers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(kept[b]), len(kept[a])) })
	quota, odd := len(partitions)/len(readers), len(partitions)%len(readers)
	limits := make([]int, len(readers))
	for rank, i := range order {
		if limits[i] = quota; rank < odd {
			limits[i]++
		}
		for len(kept[i]) > limits[i] {
			last := len(kept[i]) - 1
			left[kept[i][last]] = true
			kept[i] = kept[i][:last]
		}
	}
	free := slices.Sorted(maps.Keys(left))
	out := make(map[string][]int, len(readers))
	for i, r := range readers {
		n := limits[i] - len(kept[i])
		out[r.id] = append(kept[i], free[:n]...)
		free = free[n:]
		slices.Sort(out[r.id])
	}
	return out
}
