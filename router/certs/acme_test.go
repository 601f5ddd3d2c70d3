package certs

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// orderer is a node that orders, over a vault that may be another node's too.
type orderer struct {
	*ACME
	vault *fakeVault
}

func newOrderer(t *testing.T, v *fakeVault, d *directory, change func(*ACMEConfig)) *orderer {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	public := NewPublic(v, log)
	cfg := ACMEConfig{Directory: d.URL + "/directory", HTTP: true, ALPN: true, Public: public, Ledger: Ledger{Vault: v}, UserAgent: "test", Log: log}
	if change != nil {
		change(&cfg)
	}
	a := NewACME(cfg)
	a.client = d.Client()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { public.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return &orderer{a, v}
}

// settle does as the leader does after an order: it writes the record, and what the next one is to be ordered with.
func (o *orderer) settle(t *testing.T, h cloud.Host, failures int, expires time.Time) {
	t.Helper()
	if err := o.Ledger.Save(t.Context(), cloud.CertificateRecord{Host: h, Failures: failures, Expires: expires}); err != nil {
		t.Fatal(err)
	}
	if err := o.vault.Delete(t.Context(), kindCertificate+string(h)); err != nil {
		t.Fatal(err)
	}
}

// TestStagingFirst: an order goes to the staging server first, until one has succeeded, and again after one that
// failed. What fails there does not reach the authority.
func TestStagingFirst(t *testing.T) {
	t.Parallel()
	staging, live := newDirectory(t), newDirectory(t)
	o := newOrderer(t, &fakeVault{}, live, func(c *ACMEConfig) { c.Staging = staging.URL + "/directory" })
	const host = "www.example.com"
	f := func(ok bool, tried, ordered int) {
		t.Helper()
		got, err := o.Order(t.Context(), host)
		if (err == nil) != ok {
			t.Fatalf("got %+v, %v", got, err)
		}
		if a, b := len(staging.taken()), len(live.taken()); a != tried || b != ordered {
			t.Errorf("%d orders at the staging server, %d at the authority", a, b)
		}
	}
	f(true, 1, 1)
	if c := o.Public.Certificate(t.Context(), host); c == nil || c.Leaf.CheckSignatureFrom(live.issuer) != nil {
		t.Errorf("the certificate is %+v", c)
	}
	o.settle(t, host, 0, time.Now().Add(time.Hour))
	f(true, 0, 1)
	o.settle(t, host, 1, time.Now().Add(time.Hour))
	f(true, 1, 1)
	o.settle(t, host, 1, time.Time{})
	staging.set(func(kind string, w http.ResponseWriter) bool {
		if kind != "order" {
			return false
		}
		problemOf(w, 403, "rejectedIdentifier", "not this one")
		return true
	})
	f(false, 0, 0)
}

// TestOneOrder: of two nodes that order for the same host at the same time, one does; what the other gets is a
// Conflict, or the certificate of the first.
func TestOneOrder(t *testing.T) {
	t.Parallel()
	d, v := newDirectory(t), &fakeVault{}
	a, b := newOrderer(t, v, d, nil), newOrderer(t, v, d, nil)
	const host = "www.example.com"
	entered, leave := make(chan bool, 8), make(chan bool)
	d.set(func(kind string, _ http.ResponseWriter) bool {
		if kind == "finalize" {
			entered <- true
			<-leave
		}
		return false
	})
	first := make(chan error, 1)
	go func() {
		_, err := a.Order(t.Context(), host)
		first <- err
	}()
	<-entered
	if _, err := b.Order(t.Context(), host); cloud.CodeOf(err) != cloud.Conflict {
		t.Errorf("while the first order is under way: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	// The second node had decided to order before the first one's record was there.
	got, err := b.Order(t.Context(), host)
	if err != nil || got.Issuer != "Test CA" || time.Until(got.Expires) < 89*24*time.Hour {
		t.Errorf("got %+v, %v", got, err)
	}
	if taken := d.taken(); !slices.Equal(taken, []string{host}) {
		t.Errorf("ordered %q", taken)
	}
	// Of the certificate two thirds are over: it is ordered again.
	d.life = time.Minute / 2
	other := newOrderer(t, &fakeVault{}, d, nil)
	for range 2 {
		if _, err := other.Order(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	if taken := d.taken(); len(taken) != 2 {
		t.Errorf("ordered %q", taken)
	}
}

// TestExternalAccount: the account is bound to one that the authority has, made once for all nodes, and made anew when
// the authority does not know it any more.
func TestExternalAccount(t *testing.T) {
	t.Parallel()
	d, v := newDirectory(t), &fakeVault{}
	bound := func(c *ACMEConfig) { c.KeyID, c.MACKey, c.Email = "kid-1", "c2VjcmV0", "me@example.com" }
	for _, host := range []cloud.Host{"a.example.com", "b.example.com"} {
		if _, err := newOrderer(t, v, d, bound).Order(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.accounts) != 1 {
		t.Fatalf("%d accounts", len(d.accounts))
	}
	account, err := json.Marshal(d.accounts[0]["externalAccountBinding"])
	if err != nil || len(account) < 100 || d.accounts[0]["termsOfServiceAgreed"] != true || d.accounts[0]["contact"].([]any)[0] != "mailto:me@example.com" {
		t.Errorf("the account is %v", d.accounts[0])
	}
	lost := true
	d.set(func(kind string, w http.ResponseWriter) bool {
		if kind != "order" || !lost {
			return false
		}
		lost = false
		problemOf(w, 400, "accountDoesNotExist", "who are you?")
		return true
	})
	o := newOrderer(t, v, d, bound)
	if _, err := o.Order(t.Context(), "c.example.com"); err == nil {
		t.Error("ordered by an account that does not exist")
	}
	if _, err := o.Order(t.Context(), "c.example.com"); err != nil || len(d.accounts) != 2 {
		t.Errorf("got %v, %d accounts", err, len(d.accounts))
	}
}

// TestRefusals: what an authority says becomes a step, words, and a pause.
func TestRefusals(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(3 * time.Hour).UTC().Format(http.TimeFormat)
	f := func(kind string, status int, problem, retryAfter string, step cloud.OrderStep, least, most time.Duration) {
		t.Helper()
		d := newDirectory(t)
		o := newOrderer(t, &fakeVault{}, d, nil)
		d.set(func(of string, w http.ResponseWriter) bool {
			if of != kind {
				return false
			}
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			problemOf(w, status, problem, "because")
			return true
		})
		_, err := o.Order(t.Context(), "www.example.com")
		failure, ok := err.(*cloud.OrderFailure)
		if !ok || failure.Step != step || failure.Wait < least || failure.Wait > most {
			t.Errorf("%s %d %s %s: got %+v", kind, status, problem, retryAfter, err)
		}
	}
	f("order", 429, "rateLimited", "7200", cloud.StepOrder, 2*time.Hour, 2*time.Hour)
	f("order", 429, "rateLimited", at, cloud.StepOrder, 2*time.Hour, 3*time.Hour)
	f("order", 429, "rateLimited", "", cloud.StepOrder, time.Hour, time.Hour)
	f("order", 429, "rateLimited", "999999999", cloud.StepOrder, longestWait, longestWait)
	f("order", 429, "rateLimited", "-5", cloud.StepOrder, time.Hour, time.Hour)
	f("account", 429, "rateLimited", "600", cloud.StepAccount, 10*time.Minute, 10*time.Minute)
	f("account", 403, "externalAccountRequired", "", cloud.StepAccount, 0, 0)
	f("directory", 503, "serverInternal", "300", cloud.StepDirectory, 5*time.Minute, 5*time.Minute)
	f("finalize", 403, "unauthorized", "", cloud.StepIssue, 0, 0)
	f("challenge", 400, "malformed", "", cloud.StepChallenge, 0, 0)
}

// TestBadNonces: half of all nonces are refused.
func TestBadNonces(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	turn := 0
	d.set(func(kind string, w http.ResponseWriter) bool {
		if kind == "directory" || kind == "nonce" {
			return false
		}
		if turn++; turn%2 == 0 {
			return false
		}
		problemOf(w, 400, "badNonce", "used")
		return true
	})
	if _, err := newOrderer(t, &fakeVault{}, d, nil).Order(t.Context(), "www.example.com"); err != nil {
		t.Error(err)
	}
}

// TestByDNS: a wildcard is proved by DNS alone, with an answer that every node gives while the authority looks. The
// authority is not asked while the world's questions do not reach the cloud, but for one order of ten.
func TestByDNS(t *testing.T) {
	t.Parallel()
	d, v := newDirectory(t), &fakeVault{}
	var missing *cloud.OrderFailure
	o := newOrderer(t, v, d, func(c *ACMEConfig) {
		c.ByDNS = func(_ context.Context, h cloud.Host) (bool, *cloud.OrderFailure) {
			return h != "www.example.net", missing
		}
	})
	other := newOrderer(t, v, d, nil)
	var kinds []string
	d.validate = func(kind, name string) bool {
		kinds = append(kinds, kind)
		return kind != "dns-01" || len(other.Public.Texts(cloud.Host(name))) == 1
	}
	if _, err := o.Order(t.Context(), "*.example.com"); err != nil || !slices.Equal(kinds, []string{"dns-01"}) {
		t.Errorf("got %v by %q", err, kinds)
	}
	if left := o.Public.Texts("example.com"); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
	if c := o.Public.Certificate(t.Context(), "a.example.com"); c == nil || c.Leaf.DNSNames[0] != "*.example.com" {
		t.Errorf("the certificate is %+v", c)
	}
	d.taken()
	missing = &cloud.OrderFailure{Step: cloud.StepChallenge, Unasked: true, Reason: "no NS"}
	for failures := range 20 {
		o.settle(t, "*.example.com", failures, time.Time{})
		_, err := o.Order(t.Context(), "*.example.com")
		if asked := failures%10 == 9; asked != (err == nil) || asked != (len(d.taken()) == 1) || !asked && err != error(missing) {
			t.Errorf("after %d failures: %v", failures, err)
		}
	}
	// The domain itself can be proved in another way.
	kinds = nil
	if _, err := o.Order(t.Context(), "example.com"); err != nil || slices.Contains(kinds, "dns-01") {
		t.Errorf("got %v by %q", err, kinds)
	}
	// Nothing leads to a host of no domain where there are no public listeners.
	o.HTTP, o.ALPN = false, false
	if _, err := o.Order(t.Context(), "www.example.net"); err == nil || !err.(*cloud.OrderFailure).Unasked {
		t.Errorf("got %v", err)
	}
}

// TestWildcardOutlasts: a host's own certificate, which is not renewed any more, gives way to the wildcard's.
func TestWildcardOutlasts(t *testing.T) {
	t.Parallel()
	d, v := newDirectory(t), &fakeVault{}
	o := newOrderer(t, v, d, func(c *ACMEConfig) {
		c.ByDNS = func(context.Context, cloud.Host) (bool, *cloud.OrderFailure) { return true, nil }
	})
	served := func() string {
		c := o.Public.Certificate(t.Context(), "www.example.com")
		if c == nil {
			return ""
		}
		return c.Leaf.DNSNames[0]
	}
	d.life = 10 * 24 * time.Hour
	if _, err := o.Order(t.Context(), "www.example.com"); err != nil || served() != "www.example.com" {
		t.Errorf("got %v, %q", err, served())
	}
	d.life = 90 * 24 * time.Hour
	if _, err := o.Order(t.Context(), "*.example.com"); err != nil || served() != "*.example.com" {
		t.Errorf("got %v, %q", err, served())
	}
	if c := o.Public.Certificate(t.Context(), "a.b.example.com"); c != nil {
		t.Errorf("two labels are served as %q", c.Leaf.DNSNames)
	}
}
