package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/leader"
)

const (
	// copiesEvery is how often a node compares what it has of the store with what it is to have, beside when the state
	// changes: a learner catches up, and an etcd ends, without a change of the state.
	copiesEvery = time.Second
	copyTimeout = 30 * time.Second
)

// keepCopy gives this node the copy of the store that the state says, until ctx ends.
func (n *Node) keepCopy(ctx context.Context, m *member) error {
	peers := m.Peers
	for {
		view := n.snapshots.View()
		own, known := view.State.Node(m.Node)
		if !known && view.State.Rev() > 0 {
			n.log.Error("this node was removed from its cloud")
			n.removal.Do(func() { close(n.removed) })
			n.Down()
			return nil
		}
		if known {
			if err := n.adjustCopy(ctx, m, own.Copy); err != nil && ctx.Err() == nil {
				n.log.Warn("cannot change this node's copy of the store yet", "want", string(own.Copy), "err", err)
			}
		}
		if now := peersOf(view.State); !slices.Equal(now, peers) && len(now) > 0 {
			peers = now
			n.savePeers(m, now)
		}
		waiting, cancel := context.WithTimeout(ctx, copiesEvery)
		_, err := n.snapshots.Changed(waiting, view)
		cancel()
		if err != nil && ctx.Err() != nil {
			return nil
		}
	}
}

// savePeers remembers the other nodes for the next start.
func (n *Node) savePeers(m *member, peers []cluster.Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Peers = peers
	if m.remote != nil {
		m.remote.SetPeers(peers)
	}
	if err := n.folder.SaveMembership(m.Membership); err != nil {
		n.log.Warn("cannot write the list of this cloud's nodes", "err", err)
	}
}

// adjustCopy makes one step towards the copy that the node is to have.
func (n *Node) adjustCopy(ctx context.Context, m *member, want cloud.StoreCopy) error {
	if m.Store != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	running, outdated := n.closeEnded(m)
	if outdated {
		if err := n.giveUpCopy(m); err != nil {
			return err
		}
	}
	if err := n.chooseEngine(ctx, m); err != nil || running { // it may have become a voter
		return err
	}
	_, has := n.folder.Etcd(m.Membership)
	if !has && want == cloud.NoCopy {
		return nil
	}
	client := m.access()
	if client == nil {
		return nil // the cloud is being recovered on this node
	}
	all, err := cluster.Members(ctx, client)
	if err != nil {
		return err
	}
	switch _, isMember := cluster.MemberAt(all, m.Addr.String()); {
	case has && isMember:
		return n.startCopy(m, m.Peers)
	case has:
		n.log.Info("this node has no copy of the store any more")
		return n.folder.RemoveEtcd(m.Membership)
	}
	return n.startLearner(ctx, m, client)
}

// closeEnded closes an etcd that has ended by itself, and reports whether one runs, and whether the one that has ended was
// outdated.
func (n *Node) closeEnded(m *member) (running, outdated bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.etcd == nil {
		return false, false
	}
	select {
	case <-m.etcd.Ended():
		outdated = m.etcd.Outdated()
		m.etcd.Close()
		m.etcd = nil
		return false, outdated
	default:
		return true, false
	}
}

// giveUpCopy removes a copy of the store that has lost what it had acknowledged, so that it is made anew from the others.
func (n *Node) giveUpCopy(m *member) error {
	n.log.Warn("this node's copy of the store is older than what the leader has seen of it: it is made anew from the others")
	return n.folder.RemoveEtcd(m.Membership)
}

// startCopy starts this node's etcd.
func (n *Node) startCopy(m *member, others []cluster.Peer) error {
	etcd, err := cluster.StartEtcd(cluster.EtcdConfig{Folder: n.folder, Member: m.Membership, Initial: others, Port: n.port, Log: n.log})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.etcd = etcd
	m.mu.Unlock()
	return nil
}

// startLearner gives this node a copy of the store, which has no vote.
func (n *Node) startLearner(ctx context.Context, m *member, client cluster.Access) error {
	self := cluster.Peer{Name: m.Node, Addr: m.Addr}
	all, err := cluster.Members(ctx, client)
	if err != nil {
		return err
	}
	if old, ok := cluster.MemberAt(all, m.Addr.String()); ok && old.Started {
		// This node was a member and has lost its data. As the same member it could vote twice.
		if err := cluster.RemoveMember(ctx, client, old.ID); err != nil {
			return err
		}
	}
	if err := cluster.AddLearner(ctx, client, self); err != nil {
		return err
	}
	if all, err = cluster.Members(ctx, client); err != nil {
		return err
	}
	if err := n.startCopy(m, cluster.PeersOf(all, m.Addr)); err != nil {
		return errors.Join(err, n.folder.RemoveEtcd(m.Membership))
	}
	n.log.Info("this node has a copy of the store")
	return nil
}

// copyDuty is the leader's part: it decides which nodes have copies of the store, makes learners voters, and removes the
// copies of nodes that are not to have one.
type copyDuty struct {
	*Node
	writer leaderWriter
}

// Name implements leader.Duty.
func (copyDuty) Name() string { return "copies of the store" }

// Run implements leader.Duty.
func (d copyDuty) Run(ctx context.Context) error {
	for {
		if m := d.member.Load(); m != nil && m.Store == nil {
			if err := d.step(ctx, m); err != nil && ctx.Err() == nil {
				d.log.Debug("cannot change the copies of the store yet", "err", err)
			}
		}
		view := d.snapshots.View()
		waiting, cancel := context.WithTimeout(ctx, copiesEvery)
		_, err := d.snapshots.Changed(waiting, view)
		cancel()
		if err != nil && ctx.Err() != nil {
			return nil
		}
	}
}

func (d copyDuty) step(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	view := d.snapshots.View()
	if len(view.State.SetCopies(leader.Copies(view))) > 0 {
		err := d.writer.Write(ctx, "choose voters", "cloud", func(s *cloud.State) ([]cloud.Change, error) {
			return s.SetCopies(leader.Copies(cloud.View{State: s, Instances: d.snapshots.View().Instances})), nil
		})
		if err != nil {
			return err
		}
		view = d.snapshots.View()
	}
	client := m.access()
	if client == nil {
		return nil
	}
	all, err := cluster.Members(ctx, client)
	if err != nil {
		return err
	}
	promote, remove := memberSteps(view.State, all)
	for _, id := range promote {
		if err := cluster.Promote(ctx, client, id); err != nil {
			return err
		}
	}
	for _, id := range remove {
		if err := cluster.RemoveMember(ctx, client, id); err != nil {
			return err
		}
	}
	return nil
}

// memberSteps returns the learners that are to become voters, and the members that are to go. Learners become voters only
// when all that are to be voters have started, so that no cloud stays with two: the newest first, because the promotion of
// one that has not caught up fails. Members go only when all voters are there that are to be.
func memberSteps(s *cloud.State, all []cluster.Member) (promote, remove []uint64) {
	wanted := map[string]*cloud.Node{}
	var voters []*cloud.Node
	for n := range s.Nodes() {
		wanted[n.Addr.String()] = n
		if n.Copy == cloud.Voter {
			voters = append(voters, n)
		}
	}
	slices.SortFunc(voters, func(a, b *cloud.Node) int { return b.Joined.Compare(a.Joined) })
	for _, n := range voters {
		m, ok := cluster.MemberAt(all, n.Addr.String())
		if !ok || !m.Started {
			return nil, nil
		}
		if m.Learner {
			promote = append(promote, m.ID)
		}
	}
	if len(promote) > 0 || len(voters) == 0 {
		return promote, nil
	}
	// First those that are gone: without them the rest has its majority more easily.
	var others []uint64
	for _, m := range all {
		switch n := wanted[m.Addr]; {
		case n == nil:
			remove = append(remove, m.ID)
		case n.Copy == cloud.NoCopy, n.Copy == cloud.Learner && !m.Learner:
			others = append(others, m.ID)
		}
	}
	return nil, append(remove, others...)
}
