package node

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/vault"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/router/certs"
	"github.com/protoduction/micro/store"
)

// openCertificates prepares the TLS of the router's listeners. Nothing is made, read or ordered yet but the files of
// certificates: that begins when the node runs.
func (n *Node) openCertificates() (err error) {
	n.vault = &vault.Vault{Engine: n.kv, Keys: n.keys}
	n.local = certs.NewLocal(certs.LocalConfig{States: states{n.store}, Keys: n.keys, Now: n.now})
	n.public = certs.NewPublic(n.vault, n.log)
	n.files = certs.NewFiles(certs.FilesConfig{Paths: n.cfg.Certificates, Log: n.log})
	n.ledger = certs.Ledger{Vault: n.vault}
	n.tls, err = certs.NewServer(certs.ServerConfig{
		Local: n.local, Public: n.public, Files: n.files, Host: n.tlsHost,
		Secret: n.secret, Protocols: router.Protocols(), Log: n.log, Now: n.now,
	})
	if err != nil || !n.orders() {
		return err
	}
	n.acme, err = n.newACME()
	return err
}

// orders says whether the node orders certificates of public hosts: it answers them by TLS, or was told whom to ask.
func (n *Node) orders() bool { return len(n.cfg.PublicHTTPS) > 0 || n.cfg.ACME.Directory != "" }

func (n *Node) newACME() (*certs.ACME, error) {
	c := n.cfg.ACME
	directory, staging := c.Directory, ""
	if directory == "" || directory == certs.LetsEncrypt {
		directory, staging = certs.LetsEncrypt, certs.LetsEncryptStaging
	}
	roots, err := readRoots(c.CA)
	if err != nil {
		return nil, err
	}
	mac, err := readMAC(c.KeyFile)
	if err != nil {
		return nil, err
	}
	if (c.KeyID == "") != (mac == "") {
		return nil, cloud.Errorf(cloud.Invalid, "acme-eab-kid and acme-eab-key go together").WithHint("give both, or none")
	}
	return certs.NewACME(certs.ACMEConfig{
		Directory: directory, Staging: staging, Roots: roots, Email: c.Email, KeyID: c.KeyID, MACKey: mac,
		HTTP: len(n.cfg.Public) > 0, ALPN: len(n.cfg.PublicHTTPS) > 0, ByDNS: delegations{n}.Proves, CAA: n.forward.CAA,
		Public: n.public, Ledger: n.ledger, UserAgent: "micro/" + n.cfg.Version.Version, Log: n.log,
	}), nil
}

// readRoots reads who vouches for a private directory; nil for "".
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "acme-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, cloud.Errorf(cloud.Invalid, "acme-ca: %s has no certificate in PEM", file)
	}
	return roots, nil
}

// readMAC reads the key of an account that an authority has already; "" for "".
func readMAC(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", cloud.Errorf(cloud.Invalid, "acme-eab-key: %w", err)
	}
	return strings.TrimRight(strings.TrimSpace(string(text)), "="), nil
}

// tlsHost tells the TLS of a listener what the router knows of a host.
func (n *Node) tlsHost(internal bool, name string) (certs.Clients, bool) {
	c, known := n.router.Host(internal, name)
	return certs.Clients(c), known
}

// challenges tells the router what an authority's questions are answered with.
func (n *Node) challenges(host, token string) string {
	ctx, cancel := context.WithTimeout(context.Background(), challengeTime)
	defer cancel()
	return n.public.HTTPAnswer(ctx, host, token)
}

// challengeTime is how long the store may take for the answer to an authority's question.
const challengeTime = 5 * time.Second

// authority lets the leader order certificates.
type authority struct {
	*certs.ACME
	files *certs.Files
}

func (a authority) Own(h cloud.Host) bool {
	c := a.files.Certificate(strings.Replace(string(h), "*", "x", 1))
	return c != nil && time.Now().Before(c.Leaf.NotAfter)
}

// certificateDuty is what only one node does for public hosts; nil where certificates are not ordered here.
func (n *Node) certificateDuty() []leader.Duty {
	if n.acme == nil {
		return nil
	}
	return []leader.Duty{&leader.Certificates{
		Views: n.snapshots, Authority: authority{n.acme, n.files}, Ledger: n.ledger, Events: eventNotes{n.events}, Log: n.log, Now: n.now,
	}}
}

// states lets the authority be written to the State, in micro's own name.
type states struct{ store *store.Store }

func (s states) State() *cloud.State { return s.store.State() }

func (s states) Update(ctx context.Context, change func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	return s.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "authority", change)
}

// certificateList tells the API what requests by TLS are answered with.
type certificateList struct {
	*certs.Local
	files  *certs.Files
	ledger certs.Ledger
	orders bool
}

func (c certificateList) Orders() bool { return c.orders }

func (c certificateList) Records(ctx context.Context) (map[cloud.Host]cloud.CertificateRecord, error) {
	return c.ledger.Records(ctx)
}

func (c certificateList) Files() map[cloud.Host]api.Certificate {
	all := map[cloud.Host]api.Certificate{}
	for _, f := range c.files.List() {
		shown := api.Certificate{Source: api.FromFile, Status: api.OK, Text: "it is served", Issuer: f.Issuer, File: f.Path}
		if !f.Expires.IsZero() {
			shown.Expires = &f.Expires
		}
		left := time.Until(f.Expires)
		switch {
		case left <= 0:
			shown.Status, shown.Text = api.Fail, "it has ended: clients refuse it"
		case left < f.Expires.Sub(f.From)/6:
			shown.Status, shown.Text = api.Warn, "it ends soon"
		}
		if f.Err != nil {
			shown.Status, shown.Error = api.Warn, f.Err.Error()
			shown.Text += "; what the file has now cannot be read"
		}
		for _, name := range f.Names {
			if other, ok := all[cloud.Host(name)]; !ok || other.Expires.Before(f.Expires) {
				all[cloud.Host(name)] = shown
			}
		}
	}
	return all
}
