package node

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/leader"
)

const (
	// followTimeout is how long a start waits for what the other nodes observe, before it answers requests without.
	followTimeout = 5 * time.Second
	renewEvery    = 24 * time.Hour
)

// runMember does what a node does among others, once it is one of several. It tells the others what this one observes when
// adopted is closed.
func (n *Node) runMember(ctx context.Context, adopted <-chan struct{}) error {
	select {
	case <-n.entered:
	case <-ctx.Done():
		return nil
	}
	m := n.member.Load()
	n.port.Handle(cluster.ProtoRegistry, n.images.Handler())
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return m.presence.Follow(ctx, n.followed) })
	all.Go(func() error { return m.presence.Keep(ctx) })
	all.Go(func() error { return n.keepCopy(ctx, m) })
	all.Go(func() error { return n.keepCounters(ctx, m) })
	all.Go(func() error { return n.dropDead(ctx, m) })
	all.Go(func() error { return n.renewIdentity(ctx, m) })
	all.Go(func() error { return n.totals.Run(ctx, n.leads.Load) })
	all.Go(func() error {
		select {
		case <-adopted:
			return m.presence.Publish(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	err := all.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// dropDead closes the connections to each node that dies, until ctx ends.
func (n *Node) dropDead(ctx context.Context, m *member) error {
	alive := map[cloud.NodeName]bool{}
	for view := n.snapshots.View(); ; {
		for node := range view.State.Nodes() {
			status, ok := view.Instances.NodeStatus(node.Name)
			if alive[node.Name] && (!ok || !status.Alive) {
				m.dialer.Drop(node.Name)
			}
			alive[node.Name] = ok && status.Alive
		}
		next, err := n.snapshots.Changed(ctx, view)
		if err != nil {
			return nil
		}
		view = next
	}
}

// awaitOthers waits until this node knows what the others observe, so that it can route to them.
func (n *Node) awaitOthers(ctx context.Context) {
	if n.member.Load() == nil {
		return
	}
	select {
	case <-n.followed:
	case <-ctx.Done():
	case <-time.After(followTimeout):
		n.log.Warn("the cloud's store does not say what other nodes run: requests go to this node's instances alone")
	}
}

// awaitObserved waits until this node knows what others observed before a revision of the store's engine.
func (n *Node) awaitObserved(ctx context.Context, rev int64) {
	if m := n.member.Load(); m != nil {
		m.presence.Await(ctx, rev)
	}
}

// observed waits until this node knows what others observed up to a revision of the store's engine. A change of places that is
// decided by less could give away those of a node that has come back meanwhile.
func (n *Node) observed(ctx context.Context, rev int64) (others bool, err error) {
	m := n.member.Load()
	if m == nil {
		return false, nil
	}
	return true, m.presence.Observed(ctx, rev)
}

// writable reports that this node has no lease, and so reaches no majority of the voters, or not the user's own etcd: a change
// would only time out.
func (n *Node) writable(ctx context.Context) error {
	m := n.member.Load()
	if m == nil || m.presence.Holds(ctx) {
		return nil
	}
	if m.Store != nil {
		return cloud.Errorf(cloud.Unavailable, "node %s does not reach the store in etcd at %s, so that nothing can be changed here", n.cfg.Name, m.Store).WithCommand("micro cluster status")
	}
	return cloud.Errorf(cloud.Unavailable, "node %s reaches no majority of the voters, so that nothing can be changed here", n.cfg.Name).WithCommand("micro cluster status")
}

// leaveOthers tells the other nodes at once that this one ends its apps.
func (n *Node) leaveOthers(ctx context.Context) {
	m := n.member.Load()
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := m.presence.Leave(ctx); err != nil {
		n.log.Debug("the other nodes will notice by themselves that this one is gone", "err", err)
	}
}

// renewIdentity renews this node's certificate long before it expires.
func (n *Node) renewIdentity(ctx context.Context, m *member) error {
	for {
		authority, err := n.authority(n.snapshots.View().State)
		if err == nil {
			err = m.identity.Renew(authority, n.now())
		}
		if err != nil {
			n.log.Warn("cannot renew this node's certificate", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(renewEvery):
		}
	}
}

// lead carries out the leader's duties while this node leads. A node that is the whole cloud always does.
func (n *Node) lead(ctx context.Context) error {
	alone, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-n.entered:
			cancel()
		case <-alone.Done():
		}
	}()
	if n.member.Load() == nil {
		if err := leader.Lead(alone, n.duties...); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return n.member.Load().presence.Lead(ctx, func(ctx context.Context) error {
		n.leads.Store(true)
		defer n.leads.Store(false)
		return leader.Lead(ctx, n.duties...)
	})
}
