package node

import (
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestCanGoOnWithout(t *testing.T) {
	store := ""
	f := func(copies map[cloud.NodeName]cloud.StoreCopy, want bool) {
		t.Helper()
		s := cloud.NewState()
		s = s.Apply(s.Rev()+1, []cloud.Change{cloud.Put(&cloud.Cluster{Store: store})})
		for name, c := range copies {
			s = s.Apply(s.Rev()+1, []cloud.Change{cloud.Put(&cloud.Node{Name: name, Copy: c})})
		}
		if got := canGoOnWithout(s, "n1"); got != want {
			t.Errorf("%v: %v", copies, got)
		}
	}
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.NoCopy}, false)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Voter}, false)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Voter, "n2": cloud.Learner}, false)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Learner, "n2": cloud.Voter}, true)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Voter, "n2": cloud.Voter}, false)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Voter, "n2": cloud.Voter, "n3": cloud.Learner}, true)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.Voter, "n2": cloud.Voter, "n3": cloud.Voter}, true)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.NoCopy, "n2": cloud.Voter, "n3": cloud.Voter, "n4": cloud.Voter}, true)
	store = "etcd://10.0.0.5:2379/micro"
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.NoCopy}, false)
	f(map[cloud.NodeName]cloud.StoreCopy{"n1": cloud.NoCopy, "n2": cloud.NoCopy}, true)
}
