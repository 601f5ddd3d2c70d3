package node

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/store/kv"
)

// leaveTimeout is how long the cloud may take to forget a node.
const leaveTimeout = 10 * time.Second

// clusterControl lets the API make a cloud one of several nodes.
type clusterControl struct {
	*Node
	starting *sync.Mutex
}

// Start lets other nodes join.
func (c clusterControl) Start(ctx context.Context, addr netip.AddrPort, x *cloud.ExternalStore, by cloud.Actor) (err error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	if m := c.member.Load(); m != nil {
		return cloud.Errorf(cloud.Conflict, "this cloud takes other nodes already, at %s", m.Addr).WithCommand("micro cluster token")
	}
	return c.startCluster(ctx, addr, x, by)
}

// startCluster moves the store into an etcd, micro's own or the user's, and begins to answer other nodes. Apps and requests
// don't notice.
func (n *Node) startCluster(ctx context.Context, addr netip.AddrPort, x *cloud.ExternalStore, by cloud.Actor) (err error) {
	if !addr.IsValid() {
		if addr, err = ownAddr(); err != nil {
			return err
		}
	}
	listener, err := n.port.Listen(ctx, addr)
	if err != nil {
		return err
	}
	before := ""
	if c, ok := n.store.State().Cluster(); ok {
		before = c.ID
	}
	m := cluster.Membership{Cloud: rand.Text(), Node: n.cfg.Name, Addr: addr, Peers: []cluster.Peer{{Name: n.cfg.Name, Addr: addr, Voter: x == nil}}, Store: x}
	if err := n.foundCloud(ctx, m, by); err != nil {
		listener.Close()
		return err
	}
	e, err := n.newMember(m, listener)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.stop()
			err = errors.Join(err, n.folder.Remove())
		}
	}()
	if x != nil {
		if err = n.claimExternal(ctx, e, before); err != nil {
			return err
		}
	} else {
		if e.etcd, err = cluster.StartEtcd(cluster.EtcdConfig{Folder: n.folder, Member: m, New: true, Port: n.port, Log: n.log}); err != nil {
			return err
		}
		if err = e.etcd.Ready(ctx); err != nil {
			return err
		}
	}
	if err = n.store.Move(ctx, func() error { return n.moveInto(ctx, e) }); err != nil {
		if x != nil {
			n.releaseExternal(e)
		}
		return err
	}
	n.enter(e)
	if x != nil {
		if err := cluster.Moved(ctx, e.remote, *x, m.Cloud); err != nil {
			n.log.Warn("the next start will record that the store has moved", "err", err)
		}
		n.log.Info("the store has moved into your etcd; the file is kept as the way back", "store", x.String(), "addr", addr.String())
		return nil
	}
	n.log.Info("the store has moved into etcd; the file is kept as the way back", "addr", addr.String())
	return nil
}

// foundCloud makes the authority of the nodes' certificates and this node's own certificate.
func (n *Node) foundCloud(ctx context.Context, m cluster.Membership, by cloud.Actor) error {
	if err := n.folder.Remove(); err != nil { // of a start that was interrupted
		return err
	}
	authority, private, err := cluster.NewAuthority(n.now())
	if err != nil {
		return err
	}
	key, err := cluster.NewKey()
	if err != nil {
		return err
	}
	cert, err := authority.Issue(key.Public(), m.Node, m.Addr.Addr(), n.now())
	if err != nil {
		return err
	}
	hash, err := cluster.KeyHash(key.Public())
	if err != nil {
		return err
	}
	sealed, err := n.keys.Seal(authorityPlace, private)
	if err != nil {
		return err
	}
	if err := n.folder.SaveIdentity(key, cert, authority.DER); err != nil {
		return err
	}
	c := cloud.Cluster{ID: m.Cloud, Certificate: authority.DER, PrivateKey: sealed, Started: n.now()}
	if m.Store != nil {
		c.Store = m.Store.String()
	}
	_, err = n.store.Update(ctx, by, "start cluster", "node "+string(m.Node), func(s *cloud.State) ([]cloud.Change, error) {
		return s.StartCluster(c, m.Node, m.Addr, hash)
	})
	return err
}

// moveInto copies the store, and what the leader noted, from the node's file into its new etcd. From when the membership
// is saved, the etcd counts and the file does not.
func (n *Node) moveInto(ctx context.Context, m *member) error {
	return n.kv.Replace(func(old kv.Engine) (kv.Engine, error) {
		engine, err := newEngine(ctx, m, m.access())
		if err != nil {
			return nil, err
		}
		err = kv.Copy(ctx, old, engine, func(key string) bool { return strings.HasPrefix(key, "vault/locks/") })
		if err == nil {
			err = copyNotes(ctx, n.db.Local(), engine)
		}
		if err == nil {
			err = n.folder.SaveMembership(m.Membership)
		}
		if err != nil {
			_ = engine.Close() // there is another error to report
			return nil, err
		}
		m.engine = engine
		return engine, nil
	})
}

// ownAddr returns an address of this machine by which others may reach it, with the default port.
func ownAddr() (netip.AddrPort, error) {
	// The address towards the rest of the world, if there is a way to it. Nothing is sent.
	if c, err := net.Dial("udp", "192.0.2.1:9"); err == nil { //nolint:noctx // it does not block
		defer c.Close()
		if a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); !a.IsLoopback() {
			return netip.AddrPortFrom(a, config.DefaultClusterPort), nil
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil || l.Flags&net.FlagUp == 0 || l.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
				return netip.AddrPortFrom(p.Addr(), config.DefaultClusterPort), nil
			}
		}
	}
	return netip.AddrPort{}, cloud.Errorf(cloud.Invalid, "this machine has no address that other machines could reach").WithHint("give one with --cluster IP:PORT")
}

// NewToken makes a token with which one node may join.
func (c clusterControl) NewToken(ctx context.Context, life time.Duration, by cloud.Actor) (t api.JoinToken, err error) {
	m := c.member.Load()
	if m == nil {
		return t, cloud.Errorf(cloud.Conflict, "this cloud takes no other nodes yet").WithCommand("micro cluster start")
	}
	const most = 3
	var addrs []netip.AddrPort
	if !m.Worker {
		addrs = append(addrs, m.Addr)
	}
	view := c.snapshots.View()
	for n := range view.State.Nodes() {
		if status, ok := view.Instances.NodeStatus(n.Name); ok && status.Alive && n.Name != m.Node && n.Addr.IsValid() && !n.Worker && len(addrs) < most {
			addrs = append(addrs, n.Addr)
		}
	}
	if len(addrs) == 0 {
		return t, cloud.Errorf(cloud.Unavailable, "only workers are alive, and no other machine can connect to one").WithCommand("micro node list")
	}
	token := cluster.NewToken(m.identity.Fingerprint(), addrs)
	at := cloud.Stamp{At: c.now(), By: by.Name}
	_, err = c.store.Update(ctx, by, "create join token", token.ID(), func(s *cloud.State) ([]cloud.Change, error) {
		return s.CreateJoinToken(cloud.JoinToken{ID: token.ID(), Hash: token.Hash(), Expires: at.At.Add(life)}, at)
	})
	return api.JoinToken{Token: token.String(), Expires: at.At.Add(life)}, err
}
