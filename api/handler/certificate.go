package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Certificates are what the router answers TLS with.
type Certificates interface {
	// Authority returns the cloud's own authority, which is made where there is none.
	Authority(ctx context.Context) (*cloud.Authority, error)
}

func (h *Handler) serveCertificates() {
	get(h, operation("authority", "GET /v1/authority", "Show the cloud's own certificate authority, for machines to trust"),
		func(ctx context.Context, _ *nothing) (api.Authority, error) {
			a, err := h.Certificates.Authority(ctx)
			if err != nil {
				return api.Authority{}, err
			}
			sum := sha256.Sum256(a.Certificate)
			return api.Authority{
				Domain: a.Domain, Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate})),
				Fingerprint: hex.EncodeToString(sum[:]), Expires: a.Expires,
			}, nil
		})
}
