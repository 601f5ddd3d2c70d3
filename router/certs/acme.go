package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"crypto/tls"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/protoduction/micro/cloud"
)

// Directories of Let's Encrypt.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// ACMEConfig is what an ACME needs.
type ACMEConfig struct {
	// Directory is the authority's.
	Directory string
	// Staging is the directory of an authority whose certificates nobody trusts, where an order is tried first until
	// one has succeeded; "" for none. That of Let's Encrypt has wider limits for orders that fail.
	Staging string
	Email   string // of whoever the authority may write to; "" for nobody
	// Roots are who may vouch for the directory itself; nil for those that this machine trusts.
	Roots *x509.CertPool
	// KeyID and MACKey bind the account to one that the authority has already (RFC 8555, section 7.3.4); MACKey in
	// base64url. "" for none.
	KeyID, MACKey string
	// HTTP and ALPN say whether the node has public listeners for HTTP and for TLS.
	HTTP, ALPN bool
	// ByDNS says whether a host is to be proved by the cloud's DNS servers, because it is that of a public domain, and
	// what keeps the world from reaching them.
	ByDNS func(context.Context, cloud.Host) (bool, *cloud.OrderFailure)
	// CAA returns the CAA records that count for a host, and the name that they stand at. An error says that they are not
	// known. nil: nobody looks.
	CAA func(context.Context, cloud.Host) (at cloud.Host, records []cloud.CAARecord, err error)

	Public    *Public
	Ledger    Ledger
	UserAgent string
	Log       *slog.Logger
}

// ACME orders certificates of public hosts (RFC 8555).
type ACME struct {
	ACMEConfig
	client *http.Client
	mu     sync.Mutex // one account is made at a time
}

// NewACME returns an ACME. It asks nobody until the first order.
func NewACME(cfg ACMEConfig) *ACME {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}
	return &ACME{ACMEConfig: cfg, client: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// Order gets a certificate for a host and keeps it in the vault. The error is a *cloud.OrderFailure, or a Conflict
// where another node orders it.
func (a *ACME) Order(ctx context.Context, h cloud.Host) (issued cloud.IssuedCertificate, err error) {
	held, unlock, err := a.Public.Vault.Lock(ctx, "order of "+string(h))
	if err != nil {
		if cloud.CodeOf(err) == cloud.Conflict {
			return issued, err
		}
		return issued, &cloud.OrderFailure{Step: cloud.StepStore, Reason: err.Error()}
	}
	defer unlock()
	// Another node, or this one before it could write its record, may have got it while this one waited.
	if leaf := a.Public.fresh(held, h, time.Now()); leaf != nil {
		return issuedOf(leaf), nil
	}
	r := a.record(held, h)
	ways, err := a.ways(held, h, r)
	if err != nil {
		return issued, err
	}
	if succeeded := !r.Expires.IsZero() && r.Failures == 0; a.Staging != "" && !succeeded {
		_, err := a.order(held, a.Staging, h, ways, r)
		if f, ok := errors.AsType[*cloud.OrderFailure](err); ok && f.Step == cloud.StepCAA {
			err = nil // the records may name this cloud's account at the authority, which is not the one here
		}
		if err != nil {
			return issued, err
		}
	}
	k, err := a.order(held, a.Directory, h, ways, r)
	if err != nil {
		return issued, err
	}
	leaf, err := a.Public.keep(held, h, k)
	if err != nil {
		return issued, &cloud.OrderFailure{Step: cloud.StepStore, Reason: err.Error()}
	}
	return issuedOf(leaf), nil
}

func issuedOf(leaf *x509.Certificate) cloud.IssuedCertificate {
	return cloud.IssuedCertificate{Issuer: nameOf(leaf.Issuer.Organization, leaf.Issuer.CommonName), From: leaf.NotBefore, Expires: leaf.NotAfter}
}

// nameOf is an issuer as people call it.
func nameOf(organization []string, name string) string {
	if len(organization) > 0 {
		return strings.TrimSpace(organization[0] + " " + name)
	}
	return name
}

// record is what is known of a host's certificate; nothing where that cannot be read.
func (a *ACME) record(ctx context.Context, h cloud.Host) cloud.CertificateRecord {
	records, err := a.Ledger.Records(ctx)
	if err != nil {
		return cloud.CertificateRecord{Host: h}
	}
	return records[h]
}

// ways are the kinds of challenges by which a host can be proved.
type ways struct{ http, alpn, dns bool }

// askAnyway is how many orders in a row are not begun, because the world's questions do not reach the cloud's DNS
// servers, before one is begun all the same: the resolvers that this cloud asks may see another world.
const askAnyway = 10

// ways returns how a host can be proved. The error is a *cloud.OrderFailure.
func (a *ACME) ways(ctx context.Context, h cloud.Host, r cloud.CertificateRecord) (w ways, err error) {
	if h[0] != '*' { // RFC 8555, section 7.4.1 leaves wildcards to DNS
		w = ways{http: a.HTTP, alpn: a.ALPN}
	}
	var missing *cloud.OrderFailure
	if a.ByDNS != nil {
		w.dns, missing = a.ByDNS(ctx, h)
	}
	if missing != nil && r.Failures%askAnyway != askAnyway-1 {
		w.dns = false
	}
	switch {
	case w != ways{}:
		return w, nil
	case missing != nil:
		return w, missing
	}
	return w, &cloud.OrderFailure{Step: cloud.StepChallenge, Unasked: true, Reason: "there is no way to prove that the name is this cloud's", Hint: "micro up --public-http or --public-https, or micro domain add"}
}

// order gets a certificate from a directory.
func (a *ACME) order(ctx context.Context, directory string, h cloud.Host, w ways, r cloud.CertificateRecord) (k kept, err error) {
	t := &transaction{step: cloud.StepDirectory}
	client := &acmez.Client{
		Client: &acme.Client{Directory: directory, HTTPClient: a.watched(t), UserAgent: a.UserAgent, Logger: slog.New(quiet{a.Log.Handler()})},
	}
	authority, err := client.GetDirectory(ctx)
	if err != nil {
		return k, t.failure(err, directory)
	}
	t.at(cloud.StepAccount)
	account, err := a.account(ctx, client, directory)
	if err != nil {
		return k, t.failure(err, directory)
	}
	if w, err = a.permitted(ctx, authority, account.Location, h, w, r); err != nil {
		return k, err
	}
	client.ChallengeSolvers = a.solvers(t, w)
	t.at(cloud.StepOrder)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, t.failure(err, directory)
	}
	chains, err := client.ObtainCertificateForSANs(ctx, account, key, []string{string(h)})
	if err != nil {
		a.forgetAccount(ctx, err, directory)
		return k, t.failure(err, directory)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil || len(chains) == 0 {
		return k, t.failure(cloud.Errorf(cloud.Internal, "the authority has issued no certificate"), directory)
	}
	return kept{Chain: chains[0].ChainPEM, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

// solvers answer challenges.
func (a *ACME) solvers(t *transaction, w ways) map[string]acmez.Solver {
	solvers := map[string]acmez.Solver{}
	if w.dns {
		solvers[acme.ChallengeTypeDNS01] = newDNSSolver(a.Public, t.challenge)
	}
	if w.http {
		solvers[acme.ChallengeTypeHTTP01] = httpSolver(a.Public.Vault, t.challenge)
	}
	if w.alpn {
		solvers[acme.ChallengeTypeTLSALPN01] = alpnSolver(a.Public.Vault, t.challenge)
	}
	return solvers
}

// keptAccount is an account as the vault has it.
type keptAccount struct {
	Account acme.Account `json:"account"`
	Key     []byte       `json:"key"` // PKCS #8
}

func accountKey(directory string) string {
	sum := sha256.Sum256([]byte(directory))
	return kindAccount + hex.EncodeToString(sum[:16])
}

// account returns the cloud's account at a directory, and makes one where it has none.
func (a *ACME) account(ctx context.Context, client *acmez.Client, directory string) (account acme.Account, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if account, err = a.storedAccount(ctx, directory); err != nil || account.Location != "" {
		return account, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return account, err
	}
	account = acme.Account{TermsOfServiceAgreed: true, PrivateKey: key}
	if a.Email != "" {
		account.Contact = []string{"mailto:" + a.Email}
	}
	if a.KeyID != "" {
		if err := account.SetExternalAccountBinding(ctx, client.Client, acme.EAB{KeyID: a.KeyID, MACKey: a.MACKey}); err != nil {
			return account, err
		}
	}
	if account, err = client.NewAccount(ctx, account); err != nil {
		return account, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return account, err
	}
	b, err := json.Marshal(keptAccount{account, der})
	if err != nil {
		return account, err
	}
	return account, a.Public.Vault.Put(ctx, accountKey(directory), b)
}

// storedAccount returns the account at a directory that the vault has, one without a location where it has none.
func (a *ACME) storedAccount(ctx context.Context, directory string) (account acme.Account, err error) {
	value, err := a.Public.Vault.Get(ctx, accountKey(directory))
	if err != nil || value == nil {
		return account, err
	}
	var k keptAccount
	if err := json.Unmarshal(value, &k); err != nil {
		return account, err
	}
	key, err := x509.ParsePKCS8PrivateKey(k.Key)
	if err != nil {
		return account, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return account, cloud.Errorf(cloud.Internal, "the account's key is a %T", key)
	}
	k.Account.PrivateKey = signer
	return k.Account, nil
}

// forgetAccount drops an account that the authority does not know (any more): the next order makes another.
func (a *ACME) forgetAccount(ctx context.Context, err error, directory string) {
	if p, ok := problem(err); ok && p.Type == acme.ProblemTypeAccountDoesNotExist {
		_ = a.Public.Vault.Delete(ctx, accountKey(directory)) // else the next order tries it again
	}
}
