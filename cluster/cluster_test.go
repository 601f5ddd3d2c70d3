package cluster

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// newFolder makes a node's folder with a certificate of an authority.
func newFolder(t *testing.T, a *Authority, name cloud.NodeName) (Folder, *Identity) {
	t.Helper()
	f := NewFolder(t.TempDir())
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(key.Public(), name, netip.MustParseAddr("127.0.0.1"), time.Now())
	if err == nil {
		err = f.SaveIdentity(key, cert, a.DER)
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := f.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return f, id
}

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, private, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = OpenAuthority(a.DER, private); err != nil {
		t.Fatal(err)
	}
	return a
}

// serve starts a node's port, and returns where it is.
func serve(t *testing.T, id *Identity, knows func(cloud.NodeName, string) bool, accept func(context.Context, Request) (Answer, error)) netip.AddrPort {
	t.Helper()
	s := &Server{Log: slog.New(slog.DiscardHandler), Knows: knows}
	l, err := s.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Handle(ProtoAPI, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+string(PeerOf(r.Context())))
	}))
	s.Handle(ProtoJoin, JoinHandler(accept))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx, l, id) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
}

// TestPort lets nodes call each other: both must be of the cloud, and each must be who it says.
func TestPort(t *testing.T) {
	a := newAuthority(t)
	_, n1 := newFolder(t, a, "n1")
	_, n2 := newFolder(t, a, "n2")
	_, stranger := newFolder(t, newAuthority(t), "n2")
	removed := false
	addr := serve(t, n1, func(name cloud.NodeName, key string) bool {
		want, _ := KeyHash(n2.Public())
		return !removed && name == "n2" && key == want
	}, nil)
	ask := func(id *Identity, name cloud.NodeName, proto string) (string, error) {
		d := &Dialer{Identity: id, Addr: func(cloud.NodeName) (netip.AddrPort, bool) { return addr, true }}
		resp, err := d.Client(proto, name).Get("http://any/")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if got, err := ask(n2, "n1", ProtoAPI); err != nil || got != "hello n2" {
		t.Errorf("n2 got %q, %v", got, err)
	}
	if got, err := ask(n2, "n3", ProtoAPI); err == nil {
		t.Errorf("n1 answered for n3: %q", got)
	}
	if got, err := ask(stranger, "n1", ProtoAPI); err == nil {
		t.Errorf("a node of another cloud got %q", got)
	}
	if got, err := ask(n2, "n1", ProtoRegistry); err == nil {
		t.Errorf("a protocol without a handler got %q", got)
	}
	d := &Dialer{Identity: n2, Addr: func(cloud.NodeName) (netip.AddrPort, bool) { return addr, true }}
	if r, err := d.AskRecord(t.Context(), "n1"); err != nil || !r.Member {
		t.Errorf("a node that keeps no records says %v, %v", r, err)
	}
	removed = true
	if got, err := ask(n2, "n1", ProtoAPI); err == nil {
		t.Errorf("a removed node got %q", got)
	}
}

// TestDrop has a node that stands still: it has taken a request and does not answer. Who waits for it is told when it is dead.
func TestDrop(t *testing.T) {
	a := newAuthority(t)
	_, n1 := newFolder(t, a, "n1")
	_, n2 := newFolder(t, a, "n2")
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	l, err := s.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	asked, end := make(chan struct{}), make(chan struct{})
	s.Handle(ProtoAPI, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-end
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx, l, n1) }()
	t.Cleanup(func() { close(end); cancel(); <-done })
	addr := l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	d := &Dialer{Identity: n2, Addr: func(cloud.NodeName) (netip.AddrPort, bool) { return addr, true }}
	answered := make(chan error, 1)
	go func() {
		resp, err := d.Client(ProtoAPI, "n1").Get("http://any/")
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-asked
	d.Drop("n3")
	select {
	case err := <-answered:
		t.Errorf("the connection of another node was closed: %v", err)
	default:
	}
	d.Drop("n1")
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a node that stands still has answered")
		}
	case <-time.After(time.Minute):
		t.Error("who asks a dead node waits on")
	}
}

func TestToken(t *testing.T) {
	token := NewToken([32]byte{1, 2}, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6427"), netip.MustParseAddrPort("[fd00::1]:1")})
	got, err := ParseToken(" " + token.String() + "\n")
	if err != nil || got.String() != token.String() || got.ID() != token.ID() || len(got.Addrs) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	if strings.Contains(token.Hash()+token.ID(), "0102") || token.Hash() == token.ID() {
		t.Error("the hash tells the secret")
	}
	text := token.String()
	for n := range len(text) {
		if _, err := ParseToken(text[:n]); err == nil {
			t.Fatalf("the first %d characters are a token", n)
		}
		changed := []byte(text)
		changed[n] ^= 1
		if got, err := ParseToken(string(changed)); err == nil && got.String() == token.String() {
			t.Fatalf("character %d may be another", n)
		}
	}
}

// TestJoin lets a node join, with the right token and with those of other clouds.
func TestJoin(t *testing.T) {
	a := newAuthority(t)
	_, n1 := newFolder(t, a, "n1")
	var probed error
	addr := serve(t, n1, nil, func(ctx context.Context, r Request) (Answer, error) {
		public, err := x509.ParsePKIXPublicKey(r.Key)
		if err != nil {
			return Answer{}, err
		}
		if probed = Probe(ctx, r.Addr, public); probed != nil {
			return Answer{}, probed
		}
		return Answer{Cloud: "c1"}, nil
	})
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	l, err := s.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	join := func(key crypto.Signer, token Token, own netip.AddrPort) error {
		stop, err := AnswerProbes(l, key)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		answer, authority, err := Join(t.Context(), token, key, Request{Name: "n2", Addr: own})
		if err == nil && (answer.Cloud != "c1" || string(authority) != string(a.DER)) {
			t.Errorf("got %v", answer)
		}
		return err
	}
	own := l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	if err := join(key, NewToken(n1.Fingerprint(), []netip.AddrPort{addr}), own); err != nil {
		t.Error(err)
	}
	unreachable := netip.MustParseAddrPort("127.0.0.1:1")
	if err := join(key, NewToken(n1.Fingerprint(), []netip.AddrPort{unreachable, addr}), own); err != nil {
		t.Errorf("a node that does not answer keeps others from being asked: %v", err)
	}
	for _, c := range []struct {
		token Token
		own   netip.AddrPort
		code  cloud.Code
		text  string
	}{
		{NewToken([32]byte{1}, []netip.AddrPort{addr}), own, cloud.Denied, "another cloud"},
		{NewToken(n1.Fingerprint(), []netip.AddrPort{addr}), unreachable, cloud.Invalid, "does not reach the node at 127.0.0.1:1"},
		{NewToken(n1.Fingerprint(), []netip.AddrPort{addr}), addr, cloud.Invalid, "does not reach the node"},
		{NewToken(n1.Fingerprint(), []netip.AddrPort{unreachable}), own, cloud.Unavailable, "cannot reach the cloud"},
	} {
		if err := join(key, c.token, c.own); cloud.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v (%s), want %s: %s", err, cloud.CodeOf(err), c.code, c.text)
		}
	}
}

func TestRenew(t *testing.T) {
	a := newAuthority(t)
	f, id := newFolder(t, a, "n1")
	if err := id.Renew(a, time.Now()); err != nil {
		t.Fatal(err)
	}
	first := id.current.Load().Leaf
	if err := id.Renew(a, time.Now().Add(identityLife/2)); err != nil {
		t.Fatal(err)
	}
	again, err := f.Identity()
	if err != nil {
		t.Fatal(err)
	}
	switch second := again.current.Load().Leaf; {
	case !second.NotAfter.After(first.NotAfter.Add(identityLife / 3)):
		t.Error("the certificate was not renewed")
	case second.Subject.CommonName != "n1" || len(second.IPAddresses) != 1:
		t.Errorf("the new certificate is of %v", second.Subject)
	}
}
