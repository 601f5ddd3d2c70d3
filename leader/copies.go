package leader

import (
	"slices"

	"github.com/protoduction/micro/cloud"
)

// votersOf is how many voters a cloud of some nodes has. Two nodes have one: with two voters the cloud would stand still
// if either were lost.
func votersOf(nodes int) int {
	switch {
	case nodes < 3:
		return 1
	case nodes < 5:
		return 3
	}
	return 5
}

// Copies decides which nodes have copies of the store. Voters stay voters while they live, and if one is dead, a living
// node takes its place. In a cloud of two nodes, the one that is no voter has a copy all the same.
// Workers have none, and don't count.
func Copies(v cloud.View) map[cloud.NodeName]cloud.StoreCopy {
	var nodes []*cloud.Node
	for n := range v.State.Nodes() {
		if n.Addr.IsValid() && !n.Worker { // a voter must be reached by all others
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	zones := map[string]int{} // voters by zone
	left := slices.Clone(nodes)
	copies := map[cloud.NodeName]cloud.StoreCopy{}
	for range votersOf(len(nodes)) {
		// A living voter first; then another living node, of the zone with the fewest voters; then a dead voter, which
		// nobody can replace.
		best := slices.MinFunc(left, func(a, b *cloud.Node) int {
			return compareRanks(voterRank(v, a), voterRank(v, b), zones[a.Labels[cloud.ZoneLabel]], zones[b.Labels[cloud.ZoneLabel]], a, b)
		})
		copies[best.Name] = cloud.Voter
		zones[best.Labels[cloud.ZoneLabel]]++
		left = slices.DeleteFunc(left, func(n *cloud.Node) bool { return n == best })
		if len(left) == 0 {
			break
		}
	}
	if len(nodes) == 2 {
		copies[left[0].Name] = cloud.Learner
	}
	return copies
}

func voterRank(v cloud.View, n *cloud.Node) int {
	status, known := v.Instances.NodeStatus(n.Name)
	alive := !known || status.Alive
	switch {
	case alive && n.Copy == cloud.Voter:
		return 0
	case alive:
		return 1
	case n.Copy == cloud.Voter:
		return 2
	}
	return 3
}

func compareRanks(rankA, rankB, zoneA, zoneB int, a, b *cloud.Node) int {
	switch {
	case rankA != rankB:
		return rankA - rankB
	case zoneA != zoneB && rankA != 0:
		return zoneA - zoneB
	}
	if c := a.Joined.Compare(b.Joined); c != 0 {
		return c
	}
	return slices.Compare([]byte(a.Name), []byte(b.Name))
}
