package node

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cluster"
	"github.com/protoduction/micro/config"
)

// join lets this node join the cloud of its token. After an error the cloud does not know the node, and the machine has
// nothing of the cloud.
func (n *Node) join(ctx context.Context) (m cluster.Membership, _ *net.TCPListener, err error) {
	token, err := cluster.ParseToken(n.cfg.Join)
	if err != nil {
		return m, nil, err
	}
	if head, err := n.db.Get(ctx, "cloud/rev"); err != nil || head.Rev != 0 {
		return m, nil, errors.Join(err, cloud.Errorf(cloud.Conflict, "the node in %s is a cloud of its own, with apps and users of its own, and can't join another", n.cfg.Data).
			WithHint("choose an empty folder with --data"))
	}
	addr := n.cfg.Cluster
	if !addr.IsValid() {
		if addr, err = addrTowards(ctx, token.Addrs); err != nil {
			return m, nil, err
		}
	}
	var listener *net.TCPListener
	defer func() {
		if err != nil && listener != nil {
			listener.Close()
		}
	}()
	if !n.cfg.Worker {
		if listener, err = n.port.Listen(ctx, addr); err != nil {
			return m, nil, err
		}
	}
	key, err := cluster.NewKey()
	if err != nil {
		return m, nil, err
	}
	keyFile := n.cfg.KeyFile(os.LookupEnv)
	had, err := readIfThere(keyFile)
	if err != nil {
		return m, nil, cloud.Errorf(cloud.Invalid, "cannot read the key file: %w", err)
	}
	stop := func() {}
	if !n.cfg.Worker {
		if stop, err = cluster.AnswerProbes(listener, key); err != nil {
			return m, nil, err
		}
	}
	req := cluster.Request{Name: n.cfg.Name, Addr: addr, Worker: n.cfg.Worker, Size: machineSize(), Version: n.cfg.Version.Version, Domain: n.cfg.Domain, CloudKey: hashIfThere(had), Networks: machineNetworks()}
	answer, authority, err := cluster.Join(ctx, token, key, req)
	stop()
	if err != nil {
		return m, nil, err
	}
	n.joined = true // from here on a failure is undone by leaving
	m = cluster.Membership{Cloud: answer.Cloud, Node: n.cfg.Name, Addr: addr, Peers: answer.Peers, Worker: n.cfg.Worker, Store: answer.Store}
	if m.Worker {
		m.Addr = answer.Addr
	}
	if had == nil {
		if err = writeKey(keyFile, answer.Key); err != nil {
			return m, nil, err
		}
		n.joinedKey = keyFile
	}
	if err = n.folder.SaveIdentity(key, answer.Certificate, authority); err == nil {
		err = n.folder.SaveMembership(m)
	}
	if err == nil {
		err = n.chooseStore(&m)
	}
	if err == nil && m.Worker {
		n.port.Early = true
		listener, err = n.port.Listen(ctx, m.Addr)
	}
	return m, listener, err
}

// addrTowards returns the address that this machine has towards another node, with the default port.
func addrTowards(ctx context.Context, nodes []netip.AddrPort) (netip.AddrPort, error) {
	var errs []error
	for _, node := range nodes {
		// A UDP socket sends nothing when it is connected, but the kernel chooses its address.
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "udp", node.String())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer c.Close()
		local := c.LocalAddr().(*net.UDPAddr).AddrPort()
		return netip.AddrPortFrom(local.Addr().Unmap(), config.DefaultClusterPort), nil
	}
	return netip.AddrPort{}, cloud.Errorf(cloud.Unavailable, "this machine has no way to the cloud: %w", errors.Join(errs...)).WithHint("check its network")
}

// machineNetworks returns the IPv4 networks that this machine is in.
func machineNetworks() (networks []netip.Prefix) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the start will fail if the cloud chooses one of them
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			networks = append(networks, p.Masked())
		}
	}
	return networks
}

func readIfThere(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func hashIfThere(content []byte) string {
	if content == nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// writeKey writes the cloud's key to a file that must not exist.
func writeKey(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write the key file: %w", err).WithHint("choose another path with --key")
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// accept lets a node join the cloud, at the other end.
func (n *Node) accept(ctx context.Context, r cluster.Request) (answer cluster.Answer, err error) {
	m := n.member.Load()
	if m == nil || n.store == nil {
		return answer, cloud.Errorf(cloud.Unavailable, "node %s is not ready", n.cfg.Name)
	}
	token := cluster.Token{}
	copy(token.Secret[:], r.Secret)
	node := cloud.Node{Name: r.Name, Addr: r.Addr, Size: r.Size, Worker: r.Worker}
	s := n.store.State()
	// Check the token first: nobody else may make this node connect to an address.
	if _, err := s.Join(node, token.ID(), token.Hash(), n.now()); err != nil {
		return answer, err
	}
	if domain := s.Settings().Domain; r.Domain != "" && r.Domain != domain {
		return answer, cloud.Errorf(cloud.Conflict, "the cloud's private domain is %s, and not %s", domain, r.Domain).WithHint("leave out --domain")
	}
	cloudKey, err := os.ReadFile(n.keys.Path())
	if err != nil {
		return answer, cloud.Errorf(cloud.Internal, "cannot read the cloud's key: %w", err)
	}
	if r.CloudKey != "" && r.CloudKey != hashIfThere(cloudKey) {
		return answer, cloud.Errorf(cloud.Conflict, "the machine has the key of another cloud").WithHint("move its key file away, or choose another one with --key")
	}
	public, err := x509.ParsePKIXPublicKey(r.Key)
	if err != nil {
		return answer, cloud.Errorf(cloud.Invalid, "the node's key cannot be read: %w", err)
	}
	if !r.Worker {
		if err := cluster.Probe(ctx, r.Addr, public); err != nil {
			return answer, err
		}
	}
	authority, err := n.authority(s)
	if err != nil {
		return answer, err
	}
	if answer.Certificate, err = authority.Issue(public, r.Name, r.Addr.Addr(), n.now()); err != nil {
		return answer, err
	}
	if node.PublicKey, err = cluster.KeyHash(public); err != nil {
		return answer, err
	}
	by := cloud.Actor{Name: "micro", Source: "join " + r.Addr.String()}
	s, err = n.store.Update(ctx, by, "join", "node "+string(r.Name), func(s *cloud.State) (_ []cloud.Change, err error) {
		node := node
		if node.Subnet, err = s.FreeSlice(r.Networks...); err != nil {
			return nil, err
		}
		return s.Join(node, token.ID(), token.Hash(), n.now())
	})
	if err != nil {
		return answer, err
	}
	if joined, ok := s.Node(r.Name); ok {
		answer.Addr = joined.Addr
	}
	n.log.Info("a node has joined", "node", string(r.Name), "addr", r.Addr.String())
	answer.Cloud, answer.Key, answer.Peers, answer.Store = m.Cloud, cloudKey, peersOf(s), m.Store
	return answer, nil
}

// authorityPlace is what the key of the nodes' authority is sealed for.
const authorityPlace = cloud.ClusterAuthorityPlace

// authority returns the authority that issues the nodes' certificates.
func (n *Node) authority(s *cloud.State) (*cluster.Authority, error) {
	c, ok := s.Cluster()
	if !ok {
		return nil, cloud.Errorf(cloud.Conflict, "this cloud takes no other nodes yet").WithCommand("micro cluster start")
	}
	private, err := n.keys.Open(authorityPlace, c.PrivateKey)
	if err != nil {
		return nil, err
	}
	return cluster.OpenAuthority(c.Certificate, private)
}

// removeNode removes a node that has joined and could not start.
func (n *Node) removeNode(ctx context.Context, name cloud.NodeName) error {
	_, err := n.store.Update(ctx, cloud.Actor{Name: "micro", Source: "node " + string(name)}, "leave", "node "+string(name), func(s *cloud.State) ([]cloud.Change, error) {
		return s.RemoveNode(name, true)
	})
	return err
}

// forget lets another node remove itself from the cloud.
func (n *Node) forget(ctx context.Context, name cloud.NodeName, key string) error {
	if n.store == nil || !n.knows(name, key) {
		return cloud.Errorf(cloud.Unavailable, "node %s is not ready, or does not know node %s", n.cfg.Name, name)
	}
	return n.removeNode(ctx, name)
}

// askForget asks the other nodes to remove this one, which does not reach the store itself.
func (n *Node) askForget(ctx context.Context) error {
	m, _, err := n.folder.Membership()
	if err != nil {
		return err
	}
	id, err := n.folder.Identity()
	if err != nil {
		return err
	}
	addrs := map[cloud.NodeName]netip.AddrPort{}
	for _, p := range m.Peers {
		addrs[p.Name] = p.Addr
	}
	dialer := &cluster.Dialer{Identity: id, Addr: func(name cloud.NodeName) (netip.AddrPort, bool) { a, ok := addrs[name]; return a, ok }}
	err = cloud.Errorf(cloud.Unavailable, "no other node is known")
	for _, p := range m.Peers {
		if p.Name == m.Node {
			continue
		}
		if err = dialer.AskForget(ctx, p.Name); err == nil {
			return nil
		}
	}
	return err
}

// undoJoin makes this machine forget a cloud that it has joined in a start that failed, and the cloud forget the node.
func (n *Node) undoJoin() {
	if !n.joined {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	var err error
	if n.store != nil {
		err = n.removeNode(ctx, n.cfg.Name)
	} else {
		err = n.askForget(ctx)
	}
	if err != nil {
		n.log.Warn("the cloud still has this node: remove it with micro node remove --lost", "node", string(n.cfg.Name), "err", err)
		err = nil
	}
	if n.joinedKey != "" {
		err = removeIfThere(n.joinedKey)
	}
	if err := errors.Join(err, n.folder.Remove()); err != nil {
		n.log.Warn("cannot remove what this node has of the cloud", "err", err)
	}
}
