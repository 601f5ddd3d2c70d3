package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	authorityLife = 20 * 365 * 24 * time.Hour
	// identityLife is how long the certificate of a node lasts. It is renewed after a third of that.
	identityLife = 365 * 24 * time.Hour
	// clockSkew is how far the clocks of two nodes may differ.
	clockSkew = 3 * 24 * time.Hour
)

// Authority issues the certificates of a cloud's nodes. It is another one than the authority of the private domain:
// browsers trust that one, and no node does.
type Authority struct {
	// DER is the authority's certificate.
	DER  []byte
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes the authority of a new cloud, and returns its private key too (PKCS #8).
func NewAuthority(now time.Time) (*Authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "micro nodes"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	a, err := OpenAuthority(der, private)
	return a, private, err
}

// OpenAuthority returns the authority of a certificate and its private key (PKCS #8).
func OpenAuthority(der, private []byte) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "the certificate of the nodes' authority cannot be read: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "the key of the nodes' authority cannot be read: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, cloud.Errorf(cloud.Internal, "the key of the nodes' authority is a %T, which can't sign", key)
	}
	return &Authority{DER: der, cert: cert, key: signer}, nil
}

// Issue returns a certificate for a node, which proves its name and its address, to clients and to servers.
func (a *Authority) Issue(public crypto.PublicKey, name cloud.NodeName, ip netip.Addr, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(name)},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(identityLife),
		DNSNames: []string{string(name)}, IPAddresses: []net.IP{ip.Unmap().AsSlice()},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "cannot issue a certificate for node %s: %w", name, err)
	}
	return der, nil
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never fails
	return n
}

// KeyHash returns the SHA-256 of a public key, in hex: by it a node is known, whatever certificates it gets.
func KeyHash(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
