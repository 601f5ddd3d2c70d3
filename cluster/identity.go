package cluster

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/durable"
)

// Membership is what a node must know of its cloud before it can read the store.
type Membership struct {
	// Cloud identifies the cloud: etcds of two clouds never talk to each other.
	Cloud string         `json:"cloud"`
	Node  cloud.NodeName `json:"node"`
	Addr  netip.AddrPort `json:"addr"`
	// Peers are the nodes of the cloud as they were last seen, this one too.
	Peers []Peer `json:"peers"`
	// Data is the folder of etcd's data, "" for the first one. A recovered cloud has another one, so that the old data
	// stay.
	Data string `json:"data,omitempty"`
	// Worker says that the others reach this node over the overlay alone: Addr is its gateway there.
	Worker bool `json:"worker,omitempty"`
	// Store is the user's own etcd that has the store; nil for micro's.
	Store *cloud.ExternalStore `json:"store,omitempty"`
}

// Prefix is what all keys of the cloud begin with in its etcd.
func (m Membership) Prefix() string {
	if m.Store == nil {
		return ""
	}
	return m.Store.Prefix
}

// Peer is another node, as far as it must be known to reach it.
type Peer struct {
	Name cloud.NodeName `json:"name"`
	Addr netip.AddrPort `json:"addr"`
	// Voter says that the node's etcd takes part in elections, and answers clients.
	Voter bool `json:"voter,omitempty"`
	// Worker says that the node is reached over the overlay alone, which a start does not have yet.
	Worker bool `json:"worker,omitempty"`
}

// Folder has a node's membership, its certificate and key, and its etcd's data.
type Folder struct{ dir string }

// NewFolder returns the folder at a path, which need not exist.
func NewFolder(dir string) Folder { return Folder{dir} }

const (
	membershipFile = "membership.json"
	keyFile        = "node.key"
	certFile       = "node.crt"
	authorityFile  = "authority.crt"
	etcdDir        = "etcd"
)

func (f Folder) path(name string) string { return filepath.Join(f.dir, name) }

// Etcd returns the folder of a member's etcd, and whether there are any data.
func (f Folder) Etcd(m Membership) (string, bool) {
	dir := f.path(cmp.Or(m.Data, etcdDir))
	_, err := os.Stat(filepath.Join(dir, "member", "wal"))
	return dir, err == nil
}

// RemoveEtcd removes the data of a member's etcd: the node has no copy of the store any more.
func (f Folder) RemoveEtcd(m Membership) error {
	dir, _ := f.Etcd(m)
	return os.RemoveAll(dir)
}

// Remove removes everything: the node is in no cloud of several any more.
func (f Folder) Remove() error { return os.RemoveAll(f.dir) }

// Membership reads the node's membership; false where it is in no cloud of several nodes.
func (f Folder) Membership() (m Membership, ok bool, err error) {
	b, err := os.ReadFile(f.path(membershipFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, false, cloud.Errorf(cloud.Invalid, "cannot read this node's membership in its cloud: %w", err)
	}
	return m, true, nil
}

// SaveMembership writes the node's membership. From then on the node is one of the cloud.
func (f Folder) SaveMembership(m Membership) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return f.write(membershipFile, b)
}

// write replaces a file in one step, and returns when that is durable.
func (f Folder) write(name string, content []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(f.path(name), content)
}

// NewKey makes a key for a node that is to join, or to start, a cloud. It is in no file yet.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// SaveIdentity writes a node's key, its certificate, and that of the authority.
func (f Folder) SaveIdentity(key crypto.Signer, cert, authority []byte) error {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		f.write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		f.write(authorityFile, certificatePEM(authority)),
		f.write(certFile, certificatePEM(cert)))
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Identity proves to other nodes who this one is, and checks who they are.
type Identity struct {
	folder    Folder
	authority *x509.Certificate
	roots     *x509.CertPool
	current   atomic.Pointer[tls.Certificate]
}

// Identity reads the node's key and certificates.
func (f Folder) Identity() (*Identity, error) {
	text, err := os.ReadFile(f.path(authorityFile))
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot read the certificate of the nodes' authority: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, cloud.Errorf(cloud.Invalid, "%s has no certificate", f.path(authorityFile))
	}
	i := &Identity{folder: f, roots: x509.NewCertPool()}
	if i.authority, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "%s has no certificate: %w", f.path(authorityFile), err)
	}
	i.roots.AddCert(i.authority)
	return i, i.load()
}

func (i *Identity) load() error {
	c, err := tls.LoadX509KeyPair(i.folder.path(certFile), i.folder.path(keyFile))
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot read this node's certificate: %w", err)
	}
	c.Certificate = append(c.Certificate[:1:1], i.authority.Raw) // who joins must see the authority
	i.current.Store(&c)
	return nil
}

// Fingerprint returns the SHA-256 of the authority's certificate.
func (i *Identity) Fingerprint() [32]byte { return fingerprint(i.authority.Raw) }

// Public returns the node's public key.
func (i *Identity) Public() crypto.PublicKey { return i.current.Load().Leaf.PublicKey }

// Renew replaces the certificate by one of the authority, if a third of its time is over.
func (i *Identity) Renew(a *Authority, now time.Time) error {
	leaf := i.current.Load().Leaf
	if leaf.NotAfter.Sub(now) > identityLife*2/3 || len(leaf.DNSNames) == 0 || len(leaf.IPAddresses) == 0 {
		return nil
	}
	ip, _ := netip.AddrFromSlice(leaf.IPAddresses[0])
	der, err := a.Issue(leaf.PublicKey, cloud.NodeName(leaf.DNSNames[0]), ip, now)
	if err != nil {
		return err
	}
	if err := i.folder.write(certFile, certificatePEM(der)); err != nil {
		return err
	}
	return i.load()
}

// client returns how to connect to a node by a protocol.
func (i *Identity) client(proto string, node cloud.NodeName) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: i.roots, ServerName: string(node), NextProtos: []string{proto},
		Certificates: []tls.Certificate{*i.current.Load()},
	}
}
