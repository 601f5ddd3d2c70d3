package node

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/node/presence"
	"github.com/protoduction/micro/store/etcdkv"
	"github.com/protoduction/micro/store/kv"
)

// membership has what makes this node one of several. On a node that is the whole cloud, all of it is idle.
type membership struct {
	folder cluster.Folder
	// port answers the other nodes.
	port *cluster.Server
	kv   *kv.Switch // the store: the node's own file, or the cloud's etcd
	// member is nil on a node that is the whole cloud. entered is closed when it is set.
	member    atomic.Pointer[member]
	entered   chan struct{}
	joined    bool          // this process has joined, so that a failed start must undo it
	joinedKey string        // the file with the cloud's key, if joining has made it
	removed   chan struct{} // closed when another node has removed this one from the cloud
	removal   sync.Once
	leads     atomic.Bool // this node has the leader's duties
	counters  counters
	clocks    clocks
	answering *answering
	// followed is closed when this node has first read what the others observe.
	followed chan struct{}
}

// member is this node as one of several.
type member struct {
	cluster.Membership
	identity *cluster.Identity
	dialer   *cluster.Dialer
	presence *presence.Presence
	stop     func() // ends all of it

	mu     sync.Mutex
	etcd   *cluster.Etcd   // the node's copy of the store; nil for none
	remote *cluster.Remote // asks the voters' etcds; nil if this node's own is a voter
	engine *etcdkv.Engine  // the one that the Switch has; nil for none
}

// enterTimeout is how long a start waits for a majority of the voters.
const enterTimeout = 50 * time.Second

// openMember makes the node one of its cloud again, or lets it join one, if it is or is to be.
func (n *Node) openMember(ctx context.Context) error {
	n.folder = cluster.NewFolder(n.data.Path("cluster"))
	n.port = &cluster.Server{Log: n.log, Knows: n.knows}
	m, ok, err := n.folder.Membership()
	if err != nil {
		return err
	}
	var listener *net.TCPListener
	switch {
	case ok && n.cfg.Cluster.IsValid() && n.cfg.Cluster != m.Addr:
		return cloud.Errorf(cloud.Invalid, "the other nodes of the cloud know this one at %s, which can't be changed to %s", m.Addr, n.cfg.Cluster).WithHint("leave out --cluster")
	case ok && m.Store == nil && !n.cfg.Store.IsZero():
		return cloud.Errorf(cloud.Conflict, "the nodes of this cloud have its store themselves, and it can't move to %s any more", n.cfg.Store).WithHint("leave out --store")
	case ok && n.cfg.Worker && !m.Worker:
		return cloud.Errorf(cloud.Conflict, "node %s has joined at %s, and can't become a worker", m.Node, m.Addr).WithHint("leave out --worker; or remove the node, and let it join anew as a worker")
	case ok && m.Worker && n.cfg.Subnet.IsValid() && !n.cfg.Subnet.Contains(m.Addr.Addr()):
		return cloud.Errorf(cloud.Conflict, "the other nodes know this worker at %s, which is not in %s", m.Addr, n.cfg.Subnet).WithHint("leave out --subnet")
	case ok:
		if err := n.chooseStore(&m); err != nil {
			return err
		}
		n.port.Early = m.Worker
		if listener, err = n.port.Listen(ctx, m.Addr); err != nil {
			return err
		}
	case n.cfg.Join != "":
		if m, listener, err = n.join(ctx); err != nil {
			return err
		}
	case n.cfg.Worker:
		return cloud.Errorf(cloud.Invalid, "a worker is a node of a cloud that has others").WithHint("give a token of that cloud: --join TOKEN")
	default:
		return n.folder.Remove() // what an interrupted start of a cluster has left
	}
	n.cfg.Name = m.Node
	ctx, cancel := context.WithTimeout(ctx, enterTimeout)
	defer cancel()
	e, err := n.newMember(m, listener)
	if err != nil {
		return err
	}
	if err := n.checkDisk(ctx, e); err != nil {
		return err
	}
	if err := n.openEngine(ctx, e); err != nil {
		return err
	}
	n.enter(e)
	return nil
}

// newMember begins to answer other nodes.
func (n *Node) newMember(m cluster.Membership, l net.Listener) (*member, error) {
	id, err := n.folder.Identity()
	if err != nil {
		l.Close()
		return nil, err
	}
	e := &member{Membership: m, identity: id}
	e.dialer = &cluster.Dialer{Identity: id, Addr: func(name cloud.NodeName) (netip.AddrPort, bool) { return n.nodeAddr(e, name) }}
	e.presence = &presence.Presence{Node: m.Node, Engine: n.kv, Views: n.snapshots, Log: n.log, Renewing: n.holdFence}
	if !m.Worker { // others can't connect to its router
		e.presence.Routers = n.addresses.Routers()
	}
	serving, stop := context.WithCancel(context.Background())
	e.stop = sync.OnceFunc(func() { stop(); e.close() })
	n.port.Handle(cluster.ProtoJoin, cluster.JoinHandler(n.accept))
	n.port.Handle(cluster.ProtoRecord, cluster.RecordHandler(func(ctx context.Context, name cloud.NodeName, key string) cluster.Record {
		return n.recordOf(ctx, e, name, key)
	}, n.forget))
	go func() {
		if err := n.port.Serve(serving, l, id); err != nil {
			n.log.Error("other nodes no longer reach this one", "err", err)
		}
	}()
	n.onRelease(e.stop)
	return e, nil
}

// nodeAddr returns where a node is, from the state or, as long as that can't be read, from the last start.
func (n *Node) nodeAddr(m *member, name cloud.NodeName) (netip.AddrPort, bool) {
	if node, ok := n.snapshots.View().State.Node(name); ok && node.Addr.IsValid() {
		return node.Addr, true
	}
	for _, p := range m.Peers {
		if p.Name == name {
			return p.Addr, true
		}
	}
	return netip.AddrPort{}, false
}

// knows reports whether a node is one of the cloud, by its name and the hash of its public key.
func (n *Node) knows(name cloud.NodeName, key string) bool {
	s := n.snapshots.View().State
	if s.Rev() == 0 {
		return true // the state can't be read without the other nodes
	}
	node, ok := s.Node(name)
	return ok && node.PublicKey == key
}

// openEngine connects the store with the cloud's etcd, at the start of a node.
func (n *Node) openEngine(ctx context.Context, m *member) error {
	if m.Store != nil {
		return n.openExternal(ctx, m)
	}
	if _, has := n.folder.Etcd(m.Membership); has {
		etcd, err := cluster.StartEtcd(cluster.EtcdConfig{Folder: n.folder, Member: m.Membership, Initial: m.Peers, Port: n.port, Log: n.log})
		if err != nil {
			return err
		}
		m.etcd = etcd
	}
	if n.cfg.Recover {
		return n.recoverAtStart(ctx, m)
	}
	if m.etcd != nil {
		err := m.etcd.Ready(ctx)
		if err != nil && !m.etcd.Outdated() {
			return err
		}
		if err != nil {
			n.closeEnded(m)
			if err := n.giveUpCopy(m); err != nil {
				return err
			}
		}
	}
	return n.chooseEngine(ctx, m)
}

// chooseEngine makes the store use the node's own etcd if that is a voter, and the others' if not.
func (n *Node) chooseEngine(ctx context.Context, m *member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Store != nil && m.engine != nil {
		return nil
	}
	local := m.etcd != nil && m.etcd.Votes()
	if m.engine != nil && local == (m.remote == nil) {
		return nil
	}
	remote := m.remote
	if remote == nil && !local {
		peers := m.Peers
		if s := n.snapshots.View().State; s.Rev() > 0 {
			peers = peersOf(s)
		}
		var err error
		if m.Store != nil {
			remote, err = cluster.OpenExternal(ctx, *m.Store, n.sayWaiting)
		} else {
			remote, err = cluster.NewRemote(m.dialer, peers)
		}
		if err != nil {
			return err
		}
	}
	return n.kv.Replace(func(kv.Engine) (kv.Engine, error) {
		client := remote
		var access cluster.Access = remote
		if local {
			access, client = m.etcd, nil
		}
		engine, err := newEngine(ctx, m, access)
		if err != nil {
			if remote != m.remote {
				remote.Close()
			}
			return nil, err
		}
		if m.engine != nil {
			_ = m.engine.Close() // it has no transaction: Replace has waited for all
		}
		if m.remote != nil && m.remote != client {
			m.remote.Close()
		}
		m.engine, m.remote = engine, client
		return engine, nil
	})
}

// enter makes the node one of several for all its parts.
func (n *Node) enter(m *member) {
	n.member.Store(m)
	close(n.entered)
}

func (m *member) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine != nil {
		_ = m.engine.Close() // nobody waits for a transaction any more
	}
	if m.etcd != nil {
		m.etcd.Close()
	}
	if m.remote != nil {
		m.remote.Close()
	}
}

// peers returns the nodes of a state.
func peersOf(s *cloud.State) (peers []cluster.Peer) {
	for n := range s.Nodes() {
		if n.Addr.IsValid() {
			peers = append(peers, cluster.Peer{Name: n.Name, Addr: n.Addr, Voter: n.Copy == cloud.Voter, Worker: n.Worker})
		}
	}
	return peers
}

// access returns the way to the cloud's etcd that the store uses; nil while it changes.
func (m *member) access() cluster.Access {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.remote != nil:
		return m.remote
	case m.etcd != nil:
		return m.etcd
	}
	return nil
}

// newEngine returns the store's engine on an etcd.
func newEngine(ctx context.Context, m *member, access cluster.Access) (*etcdkv.Engine, error) {
	var leaderChanged func() <-chan struct{} // only an etcd within this process can tell
	if own, ok := access.(*cluster.Etcd); ok {
		leaderChanged = own.LeaderChanged
	}
	return etcdkv.New(ctx, etcdkv.Config{Client: access.Client(), LeaderChanged: leaderChanged, Name: string(m.Node), Prefix: m.Prefix()})
}
