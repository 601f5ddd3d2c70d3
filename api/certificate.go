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
