package api

import (
	"context"
	"net/http"
)

// CloudKeys are the public keys of what the cloud's secrets are sealed with.
type CloudKeys struct {
	Key   string   `json:"key" doc:"What secrets and backups are sealed with"`
	Older []string `json:"older" nullable:"false" doc:"What backups still need that were made before the key was rotated"`
	File  string   `json:"file" doc:"The key file of the node that answers"`
}

// Keys shows the public keys of what the cloud's secrets are sealed with.
func (c *Client) Keys(ctx context.Context) (CloudKeys, error) {
	return call[CloudKeys](ctx, c, http.MethodGet, "/v1/key", nil, nil)
}

// RotateKey seals every secret with a new key.
func (c *Client) RotateKey(ctx context.Context) (CloudKeys, error) {
	return call[CloudKeys](ctx, c, http.MethodPost, "/v1/key/rotate", nil, nil)
}
