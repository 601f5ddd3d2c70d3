package api

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// UseToken has the client show a token with each request.
func (c *Client) UseToken(token string) error {
	if u, err := url.Parse(c.base); err == nil && c.dial == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		return cloud.Errorf(cloud.Invalid, "target %s would carry the token in clear text", c.target).WithHint("use https://")
	}
	c.token = token
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Pin has the client trust the certificate authority with a fingerprint, and no other one.
func (c *Client) Pin(fingerprint string) {
	t, ok := c.http.Transport.(*http.Transport)
	if !ok || fingerprint == "" {
		return
	}
	t.TLSClientConfig = pinned(c.target, fingerprint)
}

// pinned is a configuration by which a server is who a fingerprint says. Names play no part: who has the key of
// the cloud's authority is the cloud.
func pinned(target, fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			return checkPin(target, fingerprint, s.PeerCertificates)
		},
	}
}

func checkPin(target, fingerprint string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return cloud.Errorf(cloud.Denied, "%s has shown no certificate", target)
	}
	for _, authority := range chain {
		if fingerprintOf(authority) != fingerprint {
			continue
		}
		if authority == chain[0] && !authority.IsCA {
			return inTime(chain[0])
		}
		roots := x509.NewCertPool()
		roots.AddCert(authority)
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return cloud.Errorf(cloud.Denied, "the certificate of %s is not good: %w", target, err)
		}
		return nil
	}
	return cloud.Errorf(cloud.Denied, "the certificate of %s has changed: its fingerprint is %s, and was %s", target, fingerprintOf(chain[len(chain)-1]), fingerprint).
		WithHint("ask who runs the cloud whether that is right; if so, micro target remove and add it again")
}

func inTime(c *x509.Certificate) error {
	if now := time.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return cloud.Errorf(cloud.Denied, "the certificate is good from %s to %s", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func fingerprintOf(c *x509.Certificate) string { return Fingerprint(c.Raw) }

// Fingerprint is the SHA-256 of a certificate (DER), as people compare it: "sha256:1f0c…".
func Fingerprint(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CheckFingerprint reads a fingerprint as a person writes it.
func CheckFingerprint(text string) (string, error) {
	digits := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(text), "sha256:"), ":", ""))
	if b, err := hex.DecodeString(digits); err != nil || len(b) != sha256.Size {
		return "", cloud.Errorf(cloud.Invalid, "%q is no fingerprint", text).WithHint("it is written sha256: and 64 hexadecimal digits; sudo micro target show on the node shows it")
	}
	return "sha256:" + digits, nil
}

// Presented returns the fingerprint that a server would be pinned by: that of the last certificate that it shows.
// trusted says that this machine trusts the server as it is, so that no pin is needed.
func Presented(ctx context.Context, target string) (fingerprint string, trusted bool, err error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", false, cloud.Errorf(cloud.Invalid, "target %q is no https URL", target)
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), InsecureSkipVerify: true, // who it is shows below
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", false, cloud.Errorf(cloud.Unavailable, "cannot reach %s: %w", target, err)
	}
	defer conn.Close()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return "", false, cloud.Errorf(cloud.Internal, "no TLS connection to %s", target)
	}
	chain := secured.ConnectionState().PeerCertificates
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, verr := chain[0].Verify(x509.VerifyOptions{DNSName: u.Hostname(), Intermediates: between})
	return fingerprintOf(chain[len(chain)-1]), verr == nil, nil
}
