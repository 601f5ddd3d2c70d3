package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"

	"github.com/protoduction/micro/cloud"
)

// ErrStalled means that a transfer was aborted because the registry sent nothing for too long.
var ErrStalled = errors.New("no more data came")

// Part is a failure to fetch one of an image's blobs.
type Part struct {
	Digest digest.Digest
	Err    error
}

func (p *Part) Error() string { return p.Digest.String() + ": " + p.Err.Error() }

func (p *Part) Unwrap() error { return p.Err }

// Explain converts an error of a registry to one that names the image and the registry, with a hint what to check.
// host is the registry's name in the image's name, "docker.io".
func Explain(ctx context.Context, image, host string, err error) error {
	var known *cloud.Error
	if errors.As(err, &known) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.As(cause, &known) {
			return known
		}
		if errors.Is(cause, context.Canceled) {
			return cloud.Errorf(cloud.Interrupted, "image %s: cancelled", image)
		}
		return cloud.Errorf(cloud.Unavailable, "image %s: registry %s took too long: %w", image, host, err)
	}
	var status remoteserrors.ErrUnexpectedStatus
	errors.As(err, &status)
	var part *Part
	var dns *net.DNSError
	var network *net.OpError
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		name := strings.TrimSuffix(refused.Host, ":443")
		return cloud.Errorf(cloud.Denied, "image %s: %w", image, refused).
			WithHint("if it is your own registry, name it on the node: docker login %s, or mkdir /etc/containerd/certs.d/%s", name, name)
	case errors.Is(err, docker.ErrInvalidAuthorization), status.StatusCode == http.StatusUnauthorized, status.StatusCode == http.StatusForbidden:
		return cloud.Errorf(cloud.Denied, "image %s: registry %s requires a login for it, or has no such image: %w", image, host, err).
			WithHint("check the name, then: docker login %s, as the user that micro runs as", host)
	case status.StatusCode == http.StatusTooManyRequests:
		return cloud.Errorf(cloud.Unavailable, "image %s: registry %s limits the rate of requests: %w", image, host, err).
			WithHint("wait, or: docker login %s", host)
	case status.StatusCode >= 500:
		return cloud.Errorf(cloud.Unavailable, "image %s: registry %s fails: %w", image, host, err).
			WithHint("try again later")
	case errors.As(err, &part) && missing(part.Err):
		return cloud.Errorf(cloud.NotFound, "image %s: registry %s has the image, but not its blob %s", image, host, part.Digest).
			WithHint("push the image to %s again", host)
	case missing(err):
		return cloud.Errorf(cloud.NotFound, "image %s: registry %s has no such image", image, host).
			WithHint("check the name and the tag at %s", host)
	case errors.As(err, &dns):
		return cloud.Errorf(cloud.Unavailable, "image %s: no address for registry %s: %w", image, host, err).
			WithHint("check the host's name, and this node's DNS")
	case isCertificate(err):
		return cloud.Errorf(cloud.Unavailable, "image %s: this node does not trust the certificate of registry %s: %w", image, host, err).
			WithHint("put its CA into /etc/containerd/certs.d/%s/ca.crt", host)
	case errors.Is(err, syscall.ENOSPC):
		return cloud.Errorf(cloud.Unavailable, "image %s: the disk is full", image).WithCommand("micro prune")
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrStalled):
		return cloud.Errorf(cloud.Unavailable, "image %s: registry %s can't be reached: %w", image, host, err).
			WithHint("check that %s is up, and this node's network and proxy settings (HTTPS_PROXY)", host)
	}
	return cloud.Errorf(cloud.Unavailable, "image %s: from registry %s: %w", image, host, err).
		WithHint("check that %s is an image registry and that it is up", host)
}

func missing(err error) bool {
	var status remoteserrors.ErrUnexpectedStatus
	return errdefs.IsNotFound(err) || errors.As(err, &status) && status.StatusCode == http.StatusNotFound
}

func isCertificate(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &name)
}
