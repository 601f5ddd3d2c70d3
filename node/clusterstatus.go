package node

import (
	"context"
	"fmt"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
)

// statusTimeout is how long the store may take to say who leads.
const statusTimeout = 2 * time.Second

// Status shows the nodes and the store. Where a majority of the voters answers, it shows every change that was acknowledged
// before the request, by whichever node.
func (c clusterControl) Status(ctx context.Context) (api.Cluster, error) {
	var members []cluster.Member
	out := api.Cluster{Writable: true, Leader: c.cfg.Name, Nodes: []api.ClusterNode{}}
	if m := c.member.Load(); m != nil {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		out.Joinable = true
		if m.Store != nil {
			out.Store = m.Store.String()
		}
		err := m.presence.CatchUp(ctx)
		if err == nil {
			out.Leader, err = m.presence.Leader(ctx)
		}
		if err != nil {
			out.Writable = false
		} else if m.Store != nil {
			members = nil // nobody has a copy
		} else if access := m.access(); access == nil {
			out.Writable = false
		} else if members, err = cluster.Members(ctx, access); err != nil {
			out.Writable = false
		}
	}
	view := c.snapshots.View()
	upgrading := c.upgrading(ctx, out.Writable)
	running := map[cloud.NodeName]int{}
	for i := range view.Instances.All() {
		if i.Phase.Live() {
			running[i.Node]++
		}
	}
	alive := 0
	for n := range view.State.Nodes() {
		node := showNode(view, n)
		switch {
		case !out.Joinable:
		case out.Store != "":
			node.Store = "external"
		case out.Writable:
			node.Store = copyOf(members, n)
		case n.Name != c.cfg.Name:
			node.Store = "unknown"
		default:
			node.Store = c.member.Load().ownCopy()
		}
		node.Instances, node.Leads, node.Answers = running[n.Name], n.Name == out.Leader, n.Name == c.cfg.Name
		node.Upgrading = n.Name == upgrading
		if node.Status == "alive" {
			alive++
		}
		out.Nodes = append(out.Nodes, node)
	}
	switch {
	case !out.Joinable:
		out.Text, out.Hint = "this node is the whole cloud", "micro cluster start lets others join"
	case out.Store != "" && !out.Writable:
		out.Text = fmt.Sprintf("the store does not answer: nothing can be changed, and requests are routed on; it is etcd at %s, not run by micro", out.Store)
		out.Hint = "start that etcd, and check that this machine reaches it"
	case out.Store != "":
		out.Text = fmt.Sprintf("%d of %d nodes are alive; the store is etcd at %s, not run by micro", alive, len(out.Nodes), out.Store)
	case !out.Writable:
		out.Text = "no majority of the voters answers: nothing can be changed, and requests are routed on"
		out.Hint = "start the other nodes; where a majority of them is lost for good: micro cluster recover"
	case reachable(view.State) < 3 && len(out.Nodes) > 2:
		out.Text, out.Hint = fmt.Sprintf("%d of %d nodes are alive, and changes need %s", alive, len(out.Nodes), voterOf(view.State)), "three nodes that are no workers let any one of them fail"
	case len(out.Nodes) == 2:
		out.Text, out.Hint = fmt.Sprintf("%d of 2 nodes are alive, and changes need %s", alive, voterOf(view.State)), "a third node lets any one of them fail"
	default:
		out.Text = fmt.Sprintf("%d of %d nodes are alive", alive, len(out.Nodes))
	}
	return out, nil
}

// reachable returns how many nodes are no workers.
func reachable(s *cloud.State) (count int) {
	for n := range s.Nodes() {
		if !n.Worker {
			count++
		}
	}
	return count
}

// upgrading returns the node whose program is being replaced; "" for none, or if nobody can say.
func (n *Node) upgrading(ctx context.Context, writable bool) cloud.NodeName {
	if n.member.Load() == nil || !writable {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	turn, err := n.turns().Holder(ctx)
	if err != nil {
		n.log.Debug("cannot read which node is being upgraded", "err", err)
	}
	return turn.Node
}

// copyOf returns what a node has of the store, as etcd knows it.
func copyOf(members []cluster.Member, n *cloud.Node) string {
	switch m, ok := cluster.MemberAt(members, n.Addr.String()); {
	case !ok:
		return "none"
	case !m.Started:
		return "starting"
	case m.Learner:
		return string(cloud.Learner)
	}
	return string(cloud.Voter)
}

// ownCopy returns what this node has of the store, which it knows also without the others.
func (m *member) ownCopy() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.etcd == nil:
		return "none"
	case m.etcd.Votes():
		return string(cloud.Voter)
	}
	return string(cloud.Learner)
}

func voterOf(s *cloud.State) string {
	for n := range s.Nodes() {
		if n.Copy == cloud.Voter {
			return string(n.Name)
		}
	}
	return "a voter"
}

func showNode(v cloud.View, n *cloud.Node) api.ClusterNode {
	used := v.State.Used(n.Name)
	node := api.ClusterNode{
		Version: n.Version, Worker: n.Worker,
		Name: n.Name, Status: "unknown", Drained: n.Drain, Store: "none", Places: used.Places, Labels: n.Labels,
		Memory: n.Size.Memory, CPU: float64(n.Size.CPU) / 1000, Reserved: used.Memory,
	}
	if status, ok := v.Instances.NodeStatus(n.Name); ok {
		node.Status = map[bool]string{true: "alive", false: "dead"}[status.Alive]
	}
	if n.Copy != cloud.NoCopy {
		node.Store = string(n.Copy)
	}
	if n.Addr.IsValid() {
		node.Addr = n.Addr.String()
	}
	if n.Subnet.IsValid() {
		node.Subnet = n.Subnet.String()
	}
	if !n.Joined.IsZero() {
		node.Joined = &n.Joined
	}
	return node
}
