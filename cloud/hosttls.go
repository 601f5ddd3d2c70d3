package cloud

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"
)

// HostTLS is how a host wants to be asked by TLS. It belongs to the host, as its exposure does.
type HostTLS struct {
	// Only leads requests without TLS to the same address with it.
	Only bool `json:"only,omitempty"`
	// HSTS is how many seconds browsers are to ask by TLS alone (RFC 6797); 0 says nothing to them.
	HSTS int `json:"hsts,omitempty"`
	// ClientCA has the authorities, in PEM, one of which must vouch for every client; "" for any client.
	ClientCA string `json:"client_ca,omitempty"`
}

// HostTLSChange changes some of it; what is nil stays.
type HostTLSChange struct {
	Only     *bool
	HSTS     *int
	ClientCA *string
}

// maxHSTS is two years, in seconds: what the preload lists of browsers ask for is less.
const maxHSTS = 2 * 365 * 24 * 60 * 60

// change returns what h is after a change, nil for nothing special.
func (h *HostTLS) change(c HostTLSChange) (*HostTLS, error) {
	next := HostTLS{}
	if h != nil {
		next = *h
	}
	if c.Only != nil {
		next.Only = *c.Only
	}
	if c.HSTS != nil {
		if *c.HSTS < 0 || *c.HSTS > maxHSTS {
			return nil, Errorf(Invalid, "HSTS of %v is not between 0 and two years", time.Duration(*c.HSTS)*time.Second).WithHint("for example --hsts 180d")
		}
		next.HSTS = *c.HSTS
	}
	if c.ClientCA != nil {
		if *c.ClientCA != "" {
			if _, err := ParseAuthorities(*c.ClientCA); err != nil {
				return nil, err
			}
		}
		next.ClientCA = *c.ClientCA
	}
	if next == (HostTLS{}) {
		return nil, nil
	}
	return &next, nil
}

// maxAuthorities bounds the certificates of a ClientCA.
const maxAuthorities = 100

// ParseAuthorities reads certificates of authorities in PEM.
func ParseAuthorities(text string) (*x509.CertPool, error) {
	invalid := func(why string) error {
		return Errorf(Invalid, "the authorities of clients: %s", why).WithHint("a file of certificates in PEM, -----BEGIN CERTIFICATE-----")
	}
	pool, n := x509.NewCertPool(), 0
	for rest := []byte(strings.TrimSpace(text)); len(rest) > 0; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, invalid("there is something else than certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid(err.Error())
		}
		if !cert.IsCA {
			return nil, invalid(cert.Subject.String() + " is not an authority")
		}
		pool.AddCert(cert)
	}
	if n == 0 || n > maxAuthorities {
		return nil, invalid("there are none, or too many")
	}
	return pool, nil
}

// ParseHSTS reads a time such as 180d or 4320h, as seconds.
func ParseHSTS(text string) (int, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return int(24 * d / time.Second), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil && text != "0" {
		return 0, Errorf(Invalid, "%q is no time", text).WithHint("for example 180d; 0 ends it")
	}
	return int(d / time.Second), nil
}
