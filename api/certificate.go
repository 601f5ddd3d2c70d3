package api

import (
	"context"
	"net/http"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Authority is the cloud's own certificate authority, which vouches for internal names.
type Authority struct {
	Domain      cloud.Domain `json:"domain" doc:"The private domain: the authority vouches for its names and those under localhost, and for no other"`
	Certificate string       `json:"certificate" doc:"In PEM"`
	Fingerprint string       `json:"fingerprint" doc:"SHA-256 of the certificate, in hexadecimal"`
	Expires     time.Time    `json:"expires"`
}

// Authority returns the cloud's certificate authority.
func (c *Client) Authority(ctx context.Context) (Authority, error) {
	return call[Authority](ctx, c, http.MethodGet, "/v1/authority", nil, nil)
}

// CertificateSource says where a certificate comes from.
type CertificateSource string

// The sources of certificates.
const (
	FromAuthority CertificateSource = "authority" // the cloud's own
	FromACME      CertificateSource = "acme"      // ordered
	FromFile      CertificateSource = "file"      // somebody else got it
)

// Certificate is what a name is answered with by TLS, or is to be.
type Certificate struct {
	Name    string            `json:"name" doc:"The host; a wildcard stands for one label"`
	Source  CertificateSource `json:"source" enum:"authority,acme,file"`
	Status  CheckStatus       `json:"status" doc:"warn: there is one, and the next is not to be had; fail: there is none that clients trust"`
	Text    string            `json:"text" doc:"How it is, in words"`
	Hint    string            `json:"hint,omitempty" doc:"What to do about it"`
	Issuer  string            `json:"issuer,omitempty"`
	Expires *time.Time        `json:"expires,omitempty" doc:"Missing: there is none yet"`
	Tried   *time.Time        `json:"tried,omitempty" doc:"When one was ordered last"`
	Next    *time.Time        `json:"next_try,omitempty" doc:"When the next one is ordered"`
	Step    string            `json:"order_step,omitempty" doc:"Where the last order failed: directory, account, order, challenge, issue, store"`
	Error   string            `json:"error,omitempty" doc:"Why it failed"`
	File    string            `json:"file,omitempty" doc:"Of a certificate that somebody else got"`
}

// Certificates lists the certificates of a group's public hosts, and those that are every group's.
func (c *Client) Certificates(ctx context.Context, g cloud.GroupName) ([]Certificate, error) {
	return all[Certificate](ctx, c, groupPath(g, "certificates"), nil)
}
