package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/protoduction/micro/cloud"
)

// Bucket is a place on an S3 server.
type Bucket struct {
	client *minio.Client
	place  *cloud.BackupPlace
}

var _ Place = (*Bucket)(nil)

// partSize is how much of a backup is held in memory until the server has it. A file has 10,000 parts at most: 320 GB.
const partSize = 32 << 20

// NewBucket returns the bucket of a place. It does not connect.
func NewBucket(p *cloud.BackupPlace) (*Bucket, error) {
	u, err := url.Parse(p.Endpoint)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "endpoint %q is not a URL", p.Endpoint)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(p.KeyID, p.Secret, ""), Secure: u.Scheme == "https", Region: p.Region,
	})
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "place %s: %w", p.Name, err)
	}
	client.SetAppInfo("micro", "1")
	return &Bucket{client, p}, nil
}

func (b *Bucket) object(name string) string { return path.Join(b.place.Prefix, name) }

// Check reports why the bucket cannot be used.
func (b *Bucket) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	_, err := b.List(ctx, "")
	return err
}

const checkTimeout = 20 * time.Second

// Put implements Place. The server shows the file once it has all parts of it.
func (b *Bucket) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	b.abandonOld(ctx, name)
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(in)
		if err != nil {
			// The library takes io.ErrUnexpectedEOF for an end of the data, so no error may be one.
			in.CloseWithError(errNotWritten)
		}
		in.Close()
		written <- err
	}()
	_, err := b.client.PutObject(ctx, b.place.Bucket, b.object(name), out, -1, minio.PutObjectOptions{PartSize: partSize, ContentType: "application/octet-stream"})
	out.CloseWithError(errNotStored)
	werr := <-written
	switch {
	case werr == nil:
		return b.fault(err)
	case err == nil: // it must not look whole
		return errors.Join(werr, b.Remove(context.WithoutCancel(ctx), name))
	case errors.Is(werr, errNotStored):
		return b.fault(err)
	}
	return werr
}

var (
	errNotWritten = errors.New("the data ended with an error")
	errNotStored  = errors.New("the server did not store the data")
)

// oldUpload is how long an upload that was not completed is left alone: somebody may be at it.
const oldUpload = 24 * time.Hour

// abandonOld removes the parts of uploads that killed processes have left.
func (b *Bucket) abandonOld(ctx context.Context, name string) {
	r, _, _ := cloud.ParseBackupName(name)
	for u := range b.client.ListIncompleteUploads(ctx, b.place.Bucket, b.object(cloud.BackupPrefix(r)), true) {
		if u.Err == nil && time.Since(u.Initiated) > oldUpload {
			_ = b.client.RemoveIncompleteUpload(ctx, b.place.Bucket, u.Key) // the next backup tries again
		}
	}
}

// Get implements Place.
func (b *Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := b.client.GetObject(ctx, b.place.Bucket, b.object(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.fault(err)
	}
	if _, err := object.Stat(); err != nil {
		object.Close()
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return nil, cloud.Errorf(cloud.NotFound, "the file %s is missing", name)
		}
		return nil, b.fault(err)
	}
	return object, nil
}

// Remove implements Place.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	return b.fault(b.client.RemoveObject(ctx, b.place.Bucket, b.object(name), minio.RemoveObjectOptions{}))
}

// List implements Place.
func (b *Bucket) List(ctx context.Context, prefix string) (names []string, err error) {
	start := b.object(prefix)
	if b.place.Prefix != "" && prefix == "" {
		start += "/"
	}
	for o := range b.client.ListObjects(ctx, b.place.Bucket, minio.ListObjectsOptions{Prefix: start}) {
		if o.Err != nil {
			return nil, b.fault(o.Err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(o.Key, b.place.Prefix), "/")
		if _, _, ok := cloud.ParseBackupName(name); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// fault tells of an error of the server.
func (b *Bucket) fault(err error) error {
	if err == nil {
		return nil
	}
	if _, said := errors.AsType[*cloud.Error](err); said {
		return err
	}
	where := fmt.Sprintf("%s at %s", b.place.Location(), b.place.Endpoint)
	switch minio.ToErrorResponse(err).Code {
	case "NoSuchBucket":
		return cloud.Errorf(cloud.NotFound, "%s: there is no bucket %s", where, b.place.Bucket)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return cloud.Errorf(cloud.Denied, "%s refuses the key: %w", where, err)
	}
	return cloud.Errorf(cloud.Unavailable, "%s: %w", where, err)
}
