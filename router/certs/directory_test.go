package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// directory is a certificate authority (RFC 8555) that does what a test says, for what Pebble cannot be made to do. It
// believes signatures, and every challenge that validate agrees to.
type directory struct {
	*httptest.Server
	issuer *x509.Certificate
	key    *ecdsa.PrivateKey

	mu       sync.Mutex
	meta     map[string]any   // of the directory
	accounts []map[string]any // payloads of new accounts
	orders   []string         // the names ordered, in their order
	csrs     map[string]string
	nonces   int
	// refuse answers a request instead of the authority, by the first part of its path; false: it does not.
	refuse   func(kind string, w http.ResponseWriter) bool
	validate func(kind, name string) bool
	life     time.Duration
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	d := &directory{csrs: map[string]string{}, meta: map[string]any{}, life: 90 * 24 * time.Hour}
	var err error
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Test CA"}}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour * 24), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, d.key.Public(), d.key)
	if err != nil {
		t.Fatal(err)
	}
	if d.issuer, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	d.Server = httptest.NewTLSServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

// problemOf answers with a problem of ACME.
func problemOf(w http.ResponseWriter, status int, kind, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":%q,"status":%d}`, kind, detail, status)
}

func (d *directory) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nonces++
	w.Header().Set("Replay-Nonce", fmt.Sprintf("nonce%d", d.nonces))
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var jws struct{ Payload string }
	var payload map[string]any
	if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&jws) == nil {
		text, _ := base64.RawURLEncoding.DecodeString(jws.Payload) // what is none is an empty payload
		_ = json.Unmarshal(text, &payload)
	}
	if d.refuse != nil && d.refuse(kind, w) {
		return
	}
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // a client that has gone needs none
	}
	type m = map[string]any
	name := d.nameOf(rest)
	bare := strings.TrimPrefix(name, "*.")
	challenge := func(kind string) m {
		return m{"type": kind, "url": d.URL + "/challenge/" + rest + "/" + kind, "token": "token-" + rest, "status": "pending"}
	}
	switch kind {
	case "directory":
		answer(200, m{"newNonce": d.URL + "/nonce", "newAccount": d.URL + "/account", "newOrder": d.URL + "/order", "meta": d.meta})
	case "nonce":
	case "account":
		d.accounts = append(d.accounts, payload)
		w.Header().Set("Location", fmt.Sprintf("%s/account/%d", d.URL, len(d.accounts)))
		answer(201, m{"status": "valid"})
	case "order":
		if rest == "" {
			identifier := payload["identifiers"].([]any)[0].(map[string]any)
			rest = fmt.Sprint(len(d.orders))
			d.orders = append(d.orders, identifier["value"].(string))
			w.Header().Set("Location", d.URL+"/order/"+rest)
		}
		status, name := "ready", d.nameOf(rest)
		if d.csrs[rest] != "" {
			status = "valid"
		}
		answer(201, m{"status": status, "identifiers": []m{{"type": "dns", "value": name}}, "authorizations": []string{d.URL + "/authz/" + rest}, "finalize": d.URL + "/finalize/" + rest, "certificate": d.URL + "/certificate/" + rest})
	case "authz":
		challenges := []m{challenge("dns-01")}
		status := "pending"
		if !strings.HasPrefix(name, "*.") {
			challenges = append(challenges, challenge("http-01"), challenge("tls-alpn-01"))
		}
		if d.csrs["authz "+rest] != "" {
			status = d.csrs["authz "+rest]
		}
		answer(200, m{"status": status, "identifier": m{"type": "dns", "value": bare}, "wildcard": strings.HasPrefix(name, "*."), "challenges": challenges})
	case "challenge":
		order, kind, _ := strings.Cut(rest, "/")
		name := strings.TrimPrefix(d.nameOf(order), "*.")
		d.csrs["authz "+order] = "invalid"
		if d.validate == nil || d.validate(kind, name) {
			d.csrs["authz "+order] = "valid"
		}
		answer(200, m{"type": kind, "url": d.URL + "/challenge/" + rest, "token": "token-" + order, "status": "processing"})
	case "finalize":
		d.csrs[rest] = payload["csr"].(string)
		answer(200, m{"status": "valid", "identifiers": []m{{"type": "dns", "value": name}}, "certificate": d.URL + "/certificate/" + rest})
	case "certificate":
		der, _ := base64.RawURLEncoding.DecodeString(d.csrs[rest])
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			problemOf(w, 400, "badCSR", err.Error())
			return
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(d.nonces)), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(d.life), DNSNames: csr.DNSNames}
		der, err = x509.CreateCertificate(rand.Reader, leaf, d.issuer, csr.PublicKey, d.key)
		if err != nil {
			problemOf(w, 500, "serverInternal", err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: d.issuer.Raw})
	default:
		problemOf(w, 404, "malformed", "no such path")
	}
}

// nameOf returns what an order is for.
func (d *directory) nameOf(order string) string {
	var n int
	order, _, _ = strings.Cut(order, "/")
	if _, err := fmt.Sscan(order, &n); err != nil || n >= len(d.orders) {
		return ""
	}
	return d.orders[n]
}

func (d *directory) set(refuse func(kind string, w http.ResponseWriter) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = refuse
}

// taken returns the names that were ordered since the last call.
func (d *directory) taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := slices.Clone(d.orders)
	for i := range d.orders {
		d.orders[i] = "taken"
	}
	return slices.DeleteFunc(taken, func(n string) bool { return n == "taken" })
}
