package node

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
)

// TestMemberSteps has a cloud a case: what its nodes are to have, and what etcd's members are.
func TestMemberSteps(t *testing.T) {
	const voter, learner, none = cloud.Voter, cloud.Learner, cloud.NoCopy
	started := func(k uint64, isLearner bool) cluster.Member {
		return cluster.Member{ID: k, Addr: fmt.Sprintf("10.0.0.%d:1", k), Learner: isLearner, Started: true}
	}
	for _, c := range []struct {
		about   string
		copies  []cloud.StoreCopy
		members []cluster.Member
		want    string
	}{
		{"two nodes", []cloud.StoreCopy{voter, learner}, []cluster.Member{started(1, false), started(2, true)}, "[] []"},
		{"the third is not there yet, so there is one voter", []cloud.StoreCopy{voter, voter, voter}, []cluster.Member{started(1, false), started(2, true)}, "[] []"},
		{"the third has not started", []cloud.StoreCopy{voter, voter, voter}, []cluster.Member{started(1, false), started(2, true), {ID: 3, Addr: "10.0.0.3:1", Learner: true}}, "[] []"},
		{"all are there: the newest first", []cloud.StoreCopy{voter, voter, voter}, []cluster.Member{started(1, false), started(2, true), started(3, true)}, "[3 2] []"},
		{"the new voter is there, so the old one goes", []cloud.StoreCopy{voter, none, voter, voter}, []cluster.Member{started(1, false), started(2, false), started(3, false), started(4, false)}, "[] [2]"},
		{"the new voter is no voter yet, so the old one stays", []cloud.StoreCopy{voter, none, voter, voter}, []cluster.Member{started(1, false), started(2, false), started(3, false), started(4, true)}, "[4] []"},
		{"a removed node's member goes", []cloud.StoreCopy{voter, voter, voter}, []cluster.Member{started(1, false), started(2, false), started(3, false), started(9, false)}, "[] [9]"},
		{"of three nodes two are left: one voter", []cloud.StoreCopy{voter, learner}, []cluster.Member{started(1, false), started(2, false), started(3, false)}, "[] [3 2]"},
		{"nothing is decided yet", []cloud.StoreCopy{none, none}, []cluster.Member{started(1, false)}, "[] []"},
	} {
		var changes []cloud.Change
		for k, kept := range c.copies {
			changes = append(changes, cloud.Put(&cloud.Node{
				Name: cloud.NodeName(fmt.Sprint("n", k+1)), Copy: kept, Joined: time.Unix(int64(k), 0), Addr: netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:1", k+1)),
			}))
		}
		promote, remove := memberSteps(cloud.NewState().Apply(1, changes), c.members)
		if got := fmt.Sprint(promote, remove); got != c.want {
			t.Errorf("%s: got %s, want %s", c.about, got, c.want)
		}
	}
}
