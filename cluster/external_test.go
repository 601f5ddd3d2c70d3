package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/protoduction/micro/cloud"
)

// theirs starts an etcd of a user's own, and returns it as a cloud's store.
func theirs(t *testing.T, change func(*embed.Config)) cloud.ExternalStore {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = t.TempDir(), "theirs"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	at := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at, at, at, at
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	if change != nil {
		change(cfg)
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	return cloud.ExternalStore{Endpoints: []string{server.Clients[0].Addr().String()}, Prefix: "/shop/"}
}

// TestExternalTLS opens an etcd that speaks TLS and wants a certificate.
func TestExternalTLS(t *testing.T) {
	dir := t.TempDir()
	authority, _, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.Issue(key.Public(), "etcd", netip.MustParseAddr("127.0.0.1"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ca, cert := string(certificatePEM(authority.DER)), string(certificatePEM(der))
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
	for name, text := range map[string]string{"ca": ca, "cert": cert, "key": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := theirs(t, func(cfg *embed.Config) {
		cfg.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = filepath.Join(dir, "ca"), true
	})
	for _, tt := range []struct {
		x    cloud.ExternalStore
		says string
	}{
		{cloud.ExternalStore{TLS: true, CA: ca, Cert: cert, Key: secret}, ""},
		{cloud.ExternalStore{TLS: true, CA: ca}, "certificate"},
		{cloud.ExternalStore{TLS: true, Cert: cert, Key: secret}, "unknown authority"},
		{cloud.ExternalStore{}, "if it speaks TLS, write etcds://"},
		{cloud.ExternalStore{TLS: true, CA: "nonsense"}, "no certificate"},
		{cloud.ExternalStore{TLS: true, Cert: cert, Key: ca}, "cannot be used"},
	} {
		tt.x.Endpoints, tt.x.Prefix = x.Endpoints, x.Prefix
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if tt.says == "" {
			ctx = t.Context()
		}
		r, err := OpenExternal(ctx, tt.x, nil)
		cancel()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("want an error with %q, got %v", tt.says, err)
		}
		if err == nil {
			r.Close()
		}
	}
}

// TestClaim has clouds move into one etcd.
func TestClaim(t *testing.T) {
	x := theirs(t, nil)
	r, err := OpenExternal(t.Context(), x, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put := func(key string) {
		t.Helper()
		if _, err := r.client.Put(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(id, before, says string) {
		t.Helper()
		err := Claim(t.Context(), r, x, id, before)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("cloud %s, before that %q: want an error with %q, got %v", id, before, says, err)
		}
	}
	put("/shopping") // of a neighbour
	claim("a", "", "")
	put("/shop/k/part")
	claim("b", "", "another cloud")
	claim("b", "a", "") // the same cloud, whose move was interrupted
	resp, err := r.client.Get(t.Context(), "/shop/k/part")
	if err != nil || len(resp.Kvs) != 0 {
		t.Errorf("a part of the interrupted move is still there, %v", err)
	}
	if err := Moved(t.Context(), r, x, "b"); err != nil {
		t.Error(err)
	}
	if id, complete, err := Owner(t.Context(), r, x); id != "b" || !complete || err != nil {
		t.Errorf("the owner is %q, complete %t, %v", id, complete, err)
	}
	claim("c", "b", "was in")
	claim("c", "", "another cloud")
	if err := Unclaim(t.Context(), r, x); err != nil {
		t.Error(err)
	}
	put("/shop/theirs")
	claim("c", "", "1 keys below /shop/")
	if resp, err := r.client.Get(t.Context(), "/shopping"); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("the neighbour's key is gone, %v", err)
	}
}

// TestFullExternal claims an etcd that has reached its quota.
func TestFullExternal(t *testing.T) {
	x := theirs(t, func(cfg *embed.Config) { cfg.QuotaBackendBytes = 1 })
	r, err := OpenExternal(t.Context(), x, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Claim(t.Context(), r, x, "a", ""); err == nil || !strings.Contains(err.Error(), "space quota") || !strings.Contains(cloud.HintOf(err), "alarm disarm") {
		t.Errorf("got %v", err)
	}
}

func TestVersionOfExternal(t *testing.T) {
	for version, fine := range map[string]bool{"2.3.8": false, "3.3.27": false, "3.4.0": true, "3.10.1": true, "4.0.0": true, "": true} {
		if err := checkVersion(version); (err == nil) != fine {
			t.Errorf("%s: %v", version, err)
		}
	}
}
