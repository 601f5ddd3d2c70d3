package node

import (
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/presence"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/engine/shim"
)

// holdFence is called before this node's lease is renewed, and what it returns afterwards: the shims of instances that must
// not run twice kill them when that was too long ago.
func (n *Node) holdFence() (renewed func() error) {
	began, err := shim.Boottime()
	return func() error {
		state := engine.StateDir(n.cfg.Data)
		switch {
		case err != nil:
			return err
		case canGoOnWithout(n.snapshots.View().State, n.cfg.Name):
			return shim.WriteLease(state, began+presence.KilledAfter)
		}
		return removeIfThere(shim.LeaseFile(state))
	}
}

// canGoOnWithout reports whether the other nodes could start what a node runs: the voters among them are a majority, or may
// be one before this node hears of it, because learners become voters, or the store is in an etcd that no node runs.
func canGoOnWithout(s *cloud.State, node cloud.NodeName) bool {
	c, ok := s.Cluster()
	external := ok && c.Store != ""
	voters, others := 0, 0
	for n := range s.Nodes() {
		switch {
		case external && n.Name != node:
			return true
		case n.Name != node && n.Copy != cloud.NoCopy:
			voters, others = voters+1, others+1
		case n.Copy == cloud.Voter:
			voters++
		}
	}
	return 2*others > voters
}
