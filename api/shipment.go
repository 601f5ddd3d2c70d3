package api

import (
	"context"
	"io"
	"net/http"

	"github.com/protoduction/micro/cloud"
)

// Shipment is what another cloud needs to run a release.
type Shipment struct {
	Digest string         `json:"digest" doc:"The image's digest, which is what runs"`
	Image  string         `json:"image" doc:"What the image was made from"`
	Blobs  []Blob         `json:"blobs" doc:"What the image consists of: manifest, config and layers"`
	Spec   cloud.PushSpec `json:"spec" doc:"What a push has to ask for, but hosts and environment, which belong to a cloud"`
	Env    []string       `json:"env" doc:"Names of the release's variables"`
}

// Blob is a part of an image.
type Blob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size" doc:"Bytes"`
}

// ArchiveRequest asks for a release's image.
type ArchiveRequest struct {
	Without []string `json:"without,omitempty" maxItems:"1024" doc:"Digests of the blobs that the caller has already"`
}

// BlobQuery asks which blobs have to be sent.
type BlobQuery struct {
	Digests []string `json:"digests" maxItems:"1024"`
}

// MissingBlobs are those that have to be sent.
type MissingBlobs struct {
	Missing []string `json:"missing"`
}

// Shipment shows what another cloud needs to run a release.
func (c *Client) Shipment(ctx context.Context, r cloud.ReleaseRef) (Shipment, error) {
	return call[Shipment](ctx, c, http.MethodGet, releasePath(r, "/shipment"), nil, nil)
}

// ImageArchive returns a release's image as the tar of an OCI layout, but for some blobs. Close it.
func (c *Client) ImageArchive(ctx context.Context, r cloud.ReleaseRef, without []string) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodPost, releasePath(r, "/archive"), nil, ArchiveRequest{Without: without})
	if err != nil {
		return nil, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// MissingBlobs returns which blobs of an image have to be sent with a push of an app's archive.
func (c *Client) MissingBlobs(ctx context.Context, app cloud.AppRef, digests []string) ([]string, error) {
	m, err := call[MissingBlobs](ctx, c, http.MethodPost, appPath(app, "blobs"), nil, BlobQuery{Digests: digests})
	return m.Missing, err
}
