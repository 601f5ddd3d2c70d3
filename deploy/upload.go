package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
)

const (
	// uploadWait is how long a push waits for its upload to begin, and to begin again after it broke off.
	uploadWait = 2 * time.Minute
	// Uploads are bounded by the disk, as each may have api.MaxUpload bytes.
	maxUploads, maxUploadsPerGroup = 8, 4
)

// awaitUpload waits until everything that the push needs has been uploaded.
func (d *Deployer) awaitUpload(p *push) error {
	if !p.needsUpload() {
		return nil
	}
	p.events.add(api.PushEvent{Phase: api.PushUploading})
	limit := time.NewTicker(uploadWait)
	defer limit.Stop()
	for {
		select {
		case <-p.uploaded:
			return nil
		case <-p.ctx.Done():
			return context.Cause(p.ctx)
		case <-limit.C:
			if !p.isReceiving() && !p.isUploaded() {
				return cloud.Errorf(cloud.Interrupted, "no upload arrived within %s", uploadWait)
			}
		}
	}
}

// Receive reads the upload that a push waits for, as soon as there is a place for it. When the push ends
// meanwhile, stop is called from another goroutine: a read of body must return soon after. An upload that
// broke off may begin again; any other error ends the push, and is what it says of itself from then on.
// Nothing of such an upload is left.
func (d *Deployer) Receive(ctx context.Context, id string, body io.Reader, stop func()) (api.Push, error) {
	p, err := d.find(id)
	if err != nil {
		return api.Push{}, err
	}
	return d.receiving(ctx, p, body, stop, d.receive)
}

// receiving has one function at a time receive what is sent to a push, and returns the push as it is then.
func (d *Deployer) receiving(ctx context.Context, p *push, body io.Reader, stop func(), receive func(context.Context, *push, io.Reader) (bool, error)) (api.Push, error) {
	if err := p.beginUpload(); err != nil {
		return api.Push{}, err
	}
	defer context.AfterFunc(p.ctx, stop)()
	read := &readFailure{r: body}
	complete, err := receive(ctx, p, read)
	if err != nil {
		err = uploadError(ctx, p, read.err, err)
		if rerr := os.RemoveAll(p.uploadPath()); rerr != nil {
			d.log.Error("cannot remove a part of an upload", "push", p.id, "err", rerr)
		}
	}
	p.endUpload(complete && err == nil)
	if err != nil && cloud.CodeOf(err) != cloud.Interrupted {
		p.cancel(err)
	}
	return p.show(), err
}

// receive writes an upload to the push's folder, and completes it.
func (d *Deployer) receive(ctx context.Context, p *push, body io.Reader) (complete bool, err error) {
	ctx, giveBack, err := d.takeUpload(ctx, p)
	if err != nil {
		return false, err
	}
	defer giveBack()
	limited := &io.LimitedReader{R: body, N: api.MaxUpload + 1}
	var sent []source.Entry
	made := &tree{dir: p.uploadPath()}
	if p.request.Archive {
		err = save(p.uploadPath(), limited)
	} else if err = os.MkdirAll(made.folder(), 0o700); err == nil {
		sent, err = d.cfg.Unpack(limited, made.folder())
	}
	if limited.N <= 0 {
		return false, cloud.Errorf(cloud.Invalid, "the upload is larger than %s", cloud.FormatSize(api.MaxUpload)).WithHint("leave files out with .microignore")
	}
	if err != nil || p.request.Archive {
		return true, err
	}
	return true, d.completeTree(p, made, sent)
}

// takeUpload waits for a place for an upload. The context ends with the push.
func (d *Deployer) takeUpload(ctx context.Context, p *push) (_ context.Context, giveBack func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	unbind := context.AfterFunc(p.ctx, cancel)
	leave, err := d.uploads.take(ctx, p.app.Group, func() {
		p.events.add(api.PushEvent{Note: "waiting for other uploads to end"})
	})
	if err != nil {
		unbind()
		cancel()
		return nil, nil, err
	}
	return ctx, func() { leave(); unbind(); cancel() }, nil
}

// uploadError says why an upload failed; readErr is what reading it failed with, nil where it could be read.
func uploadError(ctx context.Context, p *push, readErr, err error) error {
	var known *cloud.Error
	switch {
	case context.Cause(p.ctx) != nil:
		return context.Cause(p.ctx)
	case errors.As(context.Cause(ctx), &known):
		return cloud.Errorf(cloud.Interrupted, "the upload was cut off: %w", known)
	case errors.Is(readErr, os.ErrDeadlineExceeded):
		return cloud.Errorf(cloud.Interrupted, "the upload was cut off: it made no progress").WithHint("push again")
	case readErr != nil || ctx.Err() != nil:
		return cloud.Errorf(cloud.Interrupted, "the upload broke off").WithHint("push again")
	case errors.Is(err, syscall.ENOSPC):
		return cloud.Errorf(cloud.Unavailable, "the node's disk is full: %w", err).WithCommand("micro df")
	case errors.As(err, &known):
		return err
	}
	return fmt.Errorf("receive an upload: %w", err)
}

// readFailure remembers the error with which reading ended: whoever reads may report another one for it.
type readFailure struct {
	r   io.Reader
	err error
}

func (f *readFailure) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// beginUpload admits one upload at a time, and none after a complete one.
func (p *push) beginUpload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.needsUpload():
		return cloud.Errorf(cloud.Conflict, "push %s does not wait for an upload", p.id)
	case p.phase != api.PushUploading || p.isUploaded():
		return cloud.Errorf(cloud.Conflict, "push %s has its upload already", p.id)
	case p.receiving:
		return cloud.Errorf(cloud.Conflict, "push %s is being uploaded already", p.id)
	}
	p.receiving = true
	return nil
}

func (p *push) endUpload(complete bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receiving = false
	if complete {
		close(p.uploaded)
	}
}

func (p *push) isUploaded() bool {
	select {
	case <-p.uploaded:
		return true
	default:
		return false
	}
}

func (p *push) isReceiving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.receiving
}

// save writes r to a new file.
func save(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
