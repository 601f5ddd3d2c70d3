package node

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
)

// externalWait is how long a start waits for the user's own etcd, which may be starting too.
const externalWait = 20 * time.Second

// claimWait is how long a cloud that is to move there waits for it.
const claimWait = 5 * time.Second

// chooseStore makes the store of a membership the configured one. A node that was told none uses that of its last start, or
// that of the node by which it has joined; and so with a password and certificates.
func (n *Node) chooseStore(m *cluster.Membership) error {
	if n.cfg.Store.IsZero() {
		return nil
	}
	x, err := n.cfg.Store.Read()
	if err != nil {
		return err
	}
	if m.Store == nil || x.Prefix != m.Store.Prefix {
		return cloud.Errorf(cloud.Conflict, "this cloud does not have its store in %s", x).WithHint("leave out --store")
	}
	before := m.Store
	if x.User == before.User {
		x.Password = cmp.Or(x.Password, before.Password)
	}
	if x.TLS {
		x.CA = cmp.Or(x.CA, before.CA)
	}
	if x.TLS && x.Cert == "" {
		x.Cert, x.Key = before.Cert, before.Key
	}
	m.Store = &x
	return nil
}

// sayWaiting tells why a start takes long.
func (n *Node) sayWaiting(err error) {
	n.log.Warn("waiting for the store", "err", err)
}

// openExternal connects the store with the user's own etcd, at the start of a node.
func (n *Node) openExternal(ctx context.Context, m *member) error {
	if n.cfg.Recover {
		return cannotRecover(m.Store)
	}
	ctx, cancel := context.WithTimeout(ctx, externalWait)
	defer cancel()
	if err := n.chooseEngine(ctx, m); err != nil {
		return err
	}
	switch id, _, err := cluster.Owner(ctx, m.remote, *m.Store); {
	case err != nil:
		return err
	case id == "":
		return cloud.Errorf(cloud.Conflict, "etcd at %s does not have the store of this node's cloud: it is empty", m.Store).
			WithHint("if the etcd has lost its data, restore them from a snapshot; else give its address with --store")
	case id != m.Cloud:
		return cloud.Errorf(cloud.Conflict, "etcd at %s has the store of another cloud", m.Store).WithHint("give the address and prefix of this cloud's store with --store")
	}
	if err := cluster.Moved(ctx, m.remote, *m.Store, m.Cloud); err != nil { // the move may have been interrupted just before
		return err
	}
	return n.folder.SaveMembership(m.Membership)
}

// moveToExternal moves the store into the user's own etcd at the start of a node that is the whole cloud.
func (n *Node) moveToExternal(ctx context.Context) error {
	if n.cfg.Store.IsZero() || n.member.Load() != nil {
		return nil
	}
	x, err := n.cfg.Store.Read()
	if err != nil {
		return err
	}
	return n.startCluster(ctx, n.cfg.Cluster, &x, cloud.Actor{Name: "micro", Source: "up --store"})
}

// claimExternal connects a member with the user's own etcd, and takes that for the cloud. before is the ID of the cloud in an
// earlier try.
func (n *Node) claimExternal(ctx context.Context, m *member, before string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if m.remote, err = cluster.OpenExternal(ctx, *m.Store, n.sayWaiting); err != nil {
		return err
	}
	return cluster.Claim(ctx, m.remote, *m.Store, m.Cloud, before)
}

// releaseExternal removes what a move that failed has left in the user's own etcd.
func (n *Node) releaseExternal(m *member) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := cluster.Unclaim(ctx, m.remote, *m.Store); err != nil {
		n.log.Warn("etcd may still have a part of the store that was to move there", "prefix", strings.TrimSuffix(m.Store.Prefix, "/"), "err", err)
	}
}
