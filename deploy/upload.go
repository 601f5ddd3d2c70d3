package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// uploadWait is how long a push waits for its upload to begin.
const uploadWait = 10 * time.Minute

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
				return cloud.Errorf(cloud.Interrupted, "nothing was uploaded within %s", uploadWait)
			}
		}
	}
}

// Receive reads the upload that a push waits for. When the push ends meanwhile, stop is called from another
// goroutine: a read of body must return soon after. After an error nothing of the upload is left, and it
// may begin again.
func (d *Deployer) Receive(ctx context.Context, id string, body io.Reader, stop func()) (shown api.Push, err error) {
	p, err := d.find(id)
	if err != nil {
		return api.Push{}, err
	}
	if err := p.beginUpload(); err != nil {
		return api.Push{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.uploadPath()))
		}
		p.endUpload(err)
		shown = p.show()
	}()
	defer context.AfterFunc(p.ctx, stop)()
	limited := &io.LimitedReader{R: body, N: api.MaxUpload + 1}
	if p.request.Archive {
		err = save(p.uploadPath(), limited)
	} else if err = os.Mkdir(p.uploadPath(), 0o700); err == nil {
		err = d.cfg.Unpack(limited, p.uploadPath())
	}
	if limited.N <= 0 {
		err = cloud.Errorf(cloud.Invalid, "the upload is larger than %s", cloud.FormatSize(api.MaxUpload)).WithHint("leave files out with .microignore")
	}
	if err == nil {
		err = d.completeUpload(p)
	}
	var known *cloud.Error
	switch {
	case err == nil:
		return shown, nil
	case context.Cause(p.ctx) != nil:
		return shown, context.Cause(p.ctx)
	case errors.Is(err, syscall.ENOSPC):
		return shown, cloud.Errorf(cloud.Unavailable, "the node's disk is full: %w", err).WithHint("micro df, micro prune")
	case errors.As(context.Cause(ctx), &known):
		return shown, known
	case errors.Is(err, io.ErrUnexpectedEOF) || ctx.Err() != nil:
		return shown, cloud.Errorf(cloud.Interrupted, "the upload broke off")
	case errors.As(err, &known):
		return shown, err
	}
	return shown, fmt.Errorf("receive an upload: %w", err)
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

func (p *push) endUpload(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receiving = false
	if err == nil {
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

// completeUpload adds the files that were known to those that were sent, and keeps all of them for the next
// push.
func (d *Deployer) completeUpload(p *push) error {
	files := p.files()
	if files == nil {
		return nil
	}
	if err := d.sources.addKnown(files, p.knownPath(), p.uploadPath()); err != nil {
		return err
	}
	scratch := filepath.Join(p.dir, "scratch")
	if err := d.sources.remember(p.app, p.uploadPath(), p.knownPath(), scratch); err != nil {
		// The next push has to send everything; this one needs nothing of it.
		d.log.Warn("the files of an upload are not kept", "app", p.app.String(), "err", err)
		return os.RemoveAll(scratch)
	}
	return nil
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
