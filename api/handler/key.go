package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// CloudKey is the key to the cloud's secrets.
type CloudKey interface {
	Keys() api.CloudKeys
	// Rotate seals every secret with a new key.
	Rotate(ctx context.Context, by cloud.Actor) (api.CloudKeys, error)
}

func (h *Handler) serveKey() {
	get(h, operation("key", "GET /v1/key", "Show the public keys of what the cloud's secrets are sealed with"),
		func(context.Context, *struct{}) (api.CloudKeys, error) { return h.CloudKey.Keys(), nil })
	get(h, operation("rotate-key", "POST /v1/key/rotate", "Seal every secret of the cloud with a new key"),
		func(ctx context.Context, _ *struct{}) (api.CloudKeys, error) {
			return h.CloudKey.Rotate(ctx, requestOf(ctx).actor)
		})
}
