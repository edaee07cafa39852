package kafka

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// Through random joins, leaves and new partitions, every partition has one
// reader, loads differ by one at most, and no more move than must.
func TestShareIsFairAndSticky(t *testing.T) {
	rng := random(t)
	for range 300 {
		have := map[string][]int{}
		joined, partitions := 0, 1+rng.IntN(30)
		for generation := int32(1); generation < 12; generation++ {
			switch {
			case len(have) == 0 || rng.IntN(3) > 0:
				joined++
				have[fmt.Sprint("m", joined)] = nil
			case rng.IntN(2) == 0:
				for id := range have {
					delete(have, id)
					break
				}
			default:
				partitions += rng.IntN(3)
			}
			if len(have) == 0 {
				continue
			}
			var members []kafkago.GroupMember
			var all []kafkago.Partition
			for p := range partitions {
				all = append(all, kafkago.Partition{Topic: "t", ID: p})
			}
			for id, had := range have {
				data, _ := json.Marshal(claim{Generation: generation - 1, Partitions: had})
				members = append(members, kafkago.GroupMember{ID: id, Topics: []string{"t"}, UserData: data})
			}
			got := balancer{}.AssignGroups(members, all)
			seen := map[int]bool{}
			fewest, most, moved, must := partitions, 0, 0, 0
			quota, odd := partitions/len(have), partitions%len(have)
			var sizes []int
			for id, had := range have {
				list := got[id]["t"]
				fewest, most = min(fewest, len(list)), max(most, len(list))
				for _, p := range list {
					if seen[p] {
						t.Fatalf("partition %d has two readers", p)
					}
					seen[p] = true
				}
				for _, p := range had {
					if !slices.Contains(list, p) {
						moved++
					}
				}
				sizes = append(sizes, len(had))
			}
			slices.Sort(sizes)
			slices.Reverse(sizes)
			for i, n := range sizes {
				limit := quota
				if i < odd {
					limit++
				}
				must += max(0, n-limit)
			}
			if len(seen) != partitions || most-fewest > 1 {
				t.Fatalf("%d of %d partitions, from %d to %d each", len(seen), partitions, fewest, most)
			}
			if moved > must {
				t.Fatalf("%d partitions moved, %d had to: %v to %v", moved, must, have, got)
			}
			for id := range have {
				have[id] = got[id]["t"]
			}
		}
	}
}

// Of two who claim a partition, the one with the later generation has it, and
// what is no claim at all is none.
func TestShareSettlesClaims(t *testing.T) {
	got := share([]reader{{"old", claim{Generation: 3, Partitions: []int{0, 1, 1, 99, -5}}}, {"new", claim{Generation: 4, Partitions: []int{1}}}}, []int{0, 1})
	if fmt.Sprint(got) != "map[new:[1] old:[0]]" {
		t.Error(got)
	}
	members := []kafkago.GroupMember{{ID: "a", Topics: []string{"t"}, UserData: []byte("\x00junk")}, {ID: "b", Topics: []string{"u"}}}
	assigned := balancer{}.AssignGroups(members, []kafkago.Partition{{Topic: "t", ID: 0}, {Topic: "u", ID: 0}, {Topic: "nobody's", ID: 0}})
	if fmt.Sprint(assigned) != "map[a:map[t:[0]] b:map[u:[0]]]" {
		t.Error(assigned)
	}
}
