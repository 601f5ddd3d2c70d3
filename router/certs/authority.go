package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// authorityLife is how long an authority lasts. To replace it means to trust another one on every machine.
	authorityLife = 10 * 365 * 24 * time.Hour
	// leafLife is how long a certificate of the authority lasts.
	leafLife = 7 * 24 * time.Hour
	// backdated is how far the clocks of clients may be behind.
	backdated = time.Hour
)

// localhost is the name that is this machine on every machine (RFC 6761, section 6.3).
const localhost = "localhost"

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// newAuthority makes an authority for the names of a domain, those under localhost and loopback addresses. It
// returns the key in PKCS #8.
func newAuthority(domain cloud.Domain, now time.Time) (a cloud.Authority, pkcs8 []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return a, nil, err
	}
	if pkcs8, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return a, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"micro"}, CommonName: "micro authority for " + string(domain)},
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(authorityLife),
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		// RFC 5280, section 4.2.1.10: a form of name without a constraint would be free.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{string(domain), localhost},
		PermittedEmailAddresses:     []string{string(domain)},
		PermittedURIDomains:         []string{string(domain)},
	}
	for _, p := range loopbacks {
		ip := p.Addr().AsSlice()
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(p.Bits(), 8*len(ip))})
	}
	if a.Certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		return a, nil, err
	}
	a.Domain, a.Expires = domain, template.NotAfter
	return a, pkcs8, nil
}

// serial returns a serial number of 127 random bits (RFC 5280, section 4.1.2.2).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // it never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// issuer is an authority whose key is open.
type issuer struct {
	from *cloud.Authority
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(a *cloud.Authority, pkcs8 []byte) (*issuer, error) {
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the authority's key is a %T", key)
	}
	return &issuer{from: a, cert: cert, key: signer}, nil
}

// issue makes a certificate for names and addresses.
func (i *issuer) issue(names []string, ips []net.IP, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"micro"}},
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(leafLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              names,
		IPAddresses:           ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// Clients that trust the authority have its certificate: it is not sent.
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
