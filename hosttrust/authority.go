package hosttrust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Authority is a certificate authority that a machine is to trust.
type Authority struct {
	Domain cloud.Domain
	PEM    []byte
	cert   *x509.Certificate
}

// ParseAuthority reads an authority's certificate. One that is not constrained to names is refused: whoever held its
// key could read all that this machine says to anybody.
func ParseAuthority(domain cloud.Domain, text []byte) (*Authority, error) {
	if err := domain.Validate(); err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, cloud.Errorf(cloud.Invalid, "the node's authority is not one certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "the node's authority cannot be read: %w", err)
	}
	if !cert.IsCA || !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) == 0 || len(cert.PermittedIPRanges) == 0 {
		return nil, cloud.Errorf(cloud.Invalid, "the node's authority is not constrained to names of its own: this machine will not trust it")
	}
	for _, name := range cert.PermittedDNSDomains {
		if name != string(domain) && name != "localhost" {
			return nil, cloud.Errorf(cloud.Invalid, "the node's authority may vouch for %q, which is not of its domain %s: this machine will not trust it", name, domain)
		}
	}
	return &Authority{Domain: domain, PEM: pem.EncodeToMemory(block), cert: cert}, nil
}

// Fingerprint is the SHA-256 of the certificate, in hexadecimal.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// prefix begins the names that authorities are stored under.
const prefix = "micro-"

// name is what the authority is stored under: "micro-DOMAIN-0123456789abcdef".
func (a *Authority) name() string {
	return prefix + string(a.Domain) + "-" + a.Fingerprint()[:16]
}

// isOurs reports whether an entry of a store was made by Install: its name has the format of name.
func isOurs(name string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	dash := strings.LastIndexByte(rest, '-')
	if !ok || dash < 0 || len(rest)-dash != 17 {
		return false
	}
	_, err := hex.DecodeString(rest[dash+1:])
	return err == nil && cloud.Domain(rest[:dash]).Validate() == nil
}
