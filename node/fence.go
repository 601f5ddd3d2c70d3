package node

import (
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/presence"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/engine/shim"
)

// holdFence is called before this node's lease is renewed, and what it returns afterwards: the shims of instances that must
// not run twice kill them when that was too long ago.
func (n *Node) holdFence() (renewed func()) {
	began, err := shim.Boottime()
	return func() {
		state := engine.StateDir(n.cfg.Data)
		switch {
		case err != nil:
		case canGoOnWithout(n.snapshots.View().State, n.cfg.Name):
			err = shim.WriteLease(state, began+presence.KilledAfter)
		default:
			err = removeIfThere(shim.LeaseFile(state))
		}
		if err != nil {
			n.log.Error("instances that must not run twice may be killed: cannot tell their shims that this node holds its lease", "err", err)
		}
	}
}

// canGoOnWithout reports whether the other nodes could start what a node runs: the voters among them are a majority, or the
// store is in an etcd that no node runs.
func canGoOnWithout(s *cloud.State, node cloud.NodeName) bool {
	c, ok := s.Cluster()
	external := ok && c.Store != ""
	voters, others := 0, 0
	for n := range s.Nodes() {
		if external && n.Name != node {
			return true
		}
		if n.Copy == cloud.Voter {
			voters++
			if n.Name != node {
				others++
			}
		}
	}
	return 2*others > voters
}
