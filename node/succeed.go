package node

import (
	"context"
	"os"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/profile"
	"github.com/protoduction/micro/node/succession"
	"github.com/protoduction/micro/store"
)

// ReadsStore is the newest version of the store's format that a node of this program reads.
const ReadsStore = store.Readable

// errSucceeded says that the node has ended so that another program takes its place.
type errSucceeded struct{ version string }

func (e errSucceeded) Error() string { return "micro " + e.version + " takes this program's place" }

const (
	// turnTime is how long a node waits for its turn while a request waits for it.
	turnTime = 20 * time.Second
	// resignTime is how long giving up the lead may take. Without that the others notice in some seconds.
	resignTime = 5 * time.Second
)

// Upgrade has a node start the program that is installed there now, in the place of the one that runs. It returns when that
// has begun.
func (c clusterControl) Upgrade(ctx context.Context, node cloud.NodeName, by cloud.Actor) (api.NodeUpgrade, error) {
	if _, err := c.snapshots.View().State.MustNode(node); err != nil {
		return api.NodeUpgrade{}, err
	}
	if node == c.cfg.Name {
		return c.upgradeHere(ctx, by)
	}
	client, err := c.apiOf(node, by)
	if err != nil {
		return api.NodeUpgrade{}, err
	}
	u, err := client.UpgradeNode(ctx, node)
	if cloud.CodeOf(err) == cloud.NotFound {
		return u, cloud.Errorf(cloud.Conflict, "micro on node %s is older than upgrades without a restart", node).WithHint("restart it there, for example systemctl restart micro")
	}
	return u, err
}

func (c clusterControl) upgradeHere(ctx context.Context, by cloud.Actor) (u api.NodeUpgrade, err error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	next, err := succession.Inspect(ctx, c.program)
	if err != nil {
		return u, err
	}
	u = api.NodeUpgrade{Node: c.cfg.Name, From: c.cfg.Version.Version, To: next.Version}
	if profile.Sum(c.program) == profile.Program() {
		u.Unchanged = true
		return u, nil
	}
	version, err := c.store.SchemaVersion(ctx)
	if err != nil {
		return u, err
	}
	if err := succession.Check(next, version); err != nil {
		return u, err
	}
	if err := c.takeTurn(ctx, next.Version); err != nil {
		return u, err
	}
	if err := c.store.Record(ctx, by, "upgrade", "node "+string(c.cfg.Name)+" to micro "+next.Version, "done"); err != nil {
		c.endTurn(ctx)
		return u, err
	}
	select {
	case c.successor <- next:
	default: // it has begun
	}
	return u, nil
}

// takeTurn waits until no other node is being upgraded, and makes sure that the cloud can do without this one for a moment.
func (n *Node) takeTurn(ctx context.Context, version string) error {
	if n.member.Load() == nil {
		return nil
	}
	if err := n.writable(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	if err := n.turns().Take(ctx, succession.Turn{Node: n.cfg.Name, Version: version, Since: n.now()}); err != nil {
		return err
	}
	view := n.snapshots.View()
	for node := range view.State.Nodes() {
		status, ok := view.Instances.NodeStatus(node.Name)
		if node.Copy == cloud.Voter && node.Name != n.cfg.Name && ok && !status.Alive {
			n.endTurn(ctx)
			return cloud.Errorf(cloud.Conflict, "node %s is dead, and with node %s away for a moment too, a majority of the voters could be missing", node.Name, n.cfg.Name).
				WithHint("start micro on %s first; if the node is gone for good: micro node remove %s --lost", node.Name, node.Name)
		}
	}
	return nil
}

func (n *Node) turns() succession.Turns {
	return succession.Turns{Engine: n.kv, Exists: func(name cloud.NodeName) bool {
		_, ok := n.snapshots.View().State.Node(name)
		return ok
	}}
}

// endTurn lets the next node be upgraded.
func (n *Node) endTurn(ctx context.Context) {
	if n.member.Load() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notesTime)
	defer cancel()
	if err := n.turns().Release(ctx, n.cfg.Name); err != nil {
		n.log.Warn("cannot say that this node is upgraded, so that others wait", "err", err)
	}
}

// resign gives the lead up, so that another node has the leader's duties before this one is away.
func (n *Node) resign(ctx context.Context) {
	m := n.member.Load()
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resignTime)
	defer cancel()
	if err := m.presence.Resign(ctx); err != nil {
		n.log.Warn("cannot give the lead up", "err", err)
	}
}

// programPath returns the path of this process's program, as it was when the process started.
func programPath() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}
