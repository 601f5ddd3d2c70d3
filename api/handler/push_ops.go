package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// PushInput names a push.
type PushInput struct {
	ID string `path:"id" maxLength:"64" doc:"ID of the push"`
}

// upload describes a body that is no JSON.
func upload(op huma.Operation, what string) huma.Operation {
	op.RequestBody = &huma.RequestBody{
		Required: true, Description: what,
		Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
	return op
}

func (h *Handler) servePushes() {
	begin := operation("push", "POST /v1/groups/{group}/apps/{app}/pushes", "Begin a push: all that is wrong with it is reported at once")
	begin.MaxBodyBytes = api.MaxPushRequest
	get(h, begin,
		func(ctx context.Context, in *struct {
			AppInput
			Body api.PushRequest
		}) (api.Push, error) {
			if err := mayExpose(requestOf(ctx).actor, in.Body.Spec); err != nil {
				return api.Push{}, err
			}
			state := h.Store.State()
			if err := cmp.Or(checkRequest(state, in.ref(), in.Body), state.HostsFree(h.domain(), in.ref(), in.Body.Spec.Routes)); err != nil {
				return api.Push{}, err
			}
			p, err := h.pushes.create(in.ref(), in.Body, requestOf(ctx).actor)
			if err != nil {
				return api.Push{}, err
			}
			shown := p.show()
			if files := p.files(); files != nil {
				if shown.Missing, err = h.source.know(p.app, files, p.known()); err != nil {
					p.cancel(err)
					return api.Push{}, err
				}
			}
			return shown, nil
		})
	get(h, upload(operation("upload", "PUT /v1/pushes/{id}/upload", "Send what a push waits for"), "A tar stream of the folder, or the archive of an image"),
		func(ctx context.Context, in *PushInput) (api.Push, error) {
			p, err := h.pushes.get(in.ID)
			if err != nil {
				return api.Push{}, err
			}
			if err := h.receive(requestOf(ctx), p); err != nil {
				return api.Push{}, err
			}
			return p.show(), nil
		})
	get(h, operation("show-push", "GET /v1/pushes/{id}", "Show a push, also one that an earlier process of the node began"),
		func(ctx context.Context, in *PushInput) (api.Push, error) {
			p, err := h.pushes.get(in.ID)
			if err != nil {
				return api.Push{}, err
			}
			return p.show(), nil
		})
	get(h, operation("cancel-push", "DELETE /v1/pushes/{id}", "Give a push up: the app is as it was before"),
		func(ctx context.Context, in *PushInput) (api.Push, error) {
			p, err := h.pushes.get(in.ID)
			if err != nil {
				return api.Push{}, err
			}
			if err := h.pushes.cancel(ctx, p, requestOf(ctx).actor); err != nil {
				return api.Push{}, err
			}
			return p.show(), nil
		})
	events(h, operation("push-events", "GET /v1/pushes/{id}/events", "Follow a push; the last event is its outcome or failure"),
		func(ctx context.Context, in *struct {
			PushInput
			From int `query:"from" minimum:"0" doc:"Number of the event to begin with"`
		}) (iter.Seq2[api.PushEvent, error], error) {
			p, err := h.pushes.get(in.ID)
			if err != nil {
				return nil, err
			}
			from := in.From
			if p.found {
				from = 1 // its numbers are not those that the reader has seen
			}
			return func(yield func(api.PushEvent, error) bool) { p.journal.read(ctx, from, yield) }, nil
		},
		func(e api.PushEvent) string { return fmt.Sprint(e.Seq) })
}

// receive reads an upload. What came of one that broke off is removed: it may begin again.
func (h *Handler) receive(q *request, p *push) (err error) {
	if err := p.beginUpload(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.upload()))
		}
		p.endUpload(err)
	}()
	rc := http.NewResponseController(q.w)
	// A writer without deadlines is a test's.
	_ = rc.SetReadDeadline(time.Now().Add(uploadTimeout))
	defer q.noDeadline()
	// Whoever cancels the push need not wait for its upload.
	stop := context.AfterFunc(p.ctx, func() { _ = rc.SetReadDeadline(time.Now()) })
	defer stop()
	body := http.MaxBytesReader(q.w, q.r.Body, api.MaxUpload)
	if p.draft.Archive {
		err = save(p.upload(), body)
	} else if err = os.Mkdir(p.upload(), 0o700); err == nil {
		err = h.Unpack(body, p.upload())
	}
	if err == nil {
		err = h.complete(p)
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case context.Cause(p.ctx) != nil:
		return context.Cause(p.ctx)
	case errors.As(err, &large):
		return cloud.Errorf(cloud.Invalid, "the upload is larger than %s", cloud.FormatSize(api.MaxUpload)).WithHint("leave files out with .microignore")
	case errors.Is(err, io.ErrUnexpectedEOF) || q.r.Context().Err() != nil:
		return cloud.Errorf(cloud.Interrupted, "the upload broke off")
	}
	var known *cloud.Error
	if errors.As(err, &known) && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return diskOr(err)
}

// complete adds what was known to what was sent, and keeps all for the next push.
func (h *Handler) complete(p *push) error {
	files := p.files()
	if files == nil {
		return nil
	}
	if err := h.source.complete(files, p.known(), p.upload()); err != nil {
		return err
	}
	scratch := filepath.Join(p.dir, "scratch")
	if err := h.source.remember(p.app, p.upload(), p.known(), scratch); err != nil {
		// The next push sends all then.
		h.Log.Warn("the files of an upload are not kept", "app", p.app.String(), "err", err)
		return os.RemoveAll(scratch)
	}
	return nil
}

// diskOr names a full disk, which is for the node's owner to mend.
func diskOr(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return cloud.Errorf(cloud.Unavailable, "the node's disk is full: %w", err).WithHint("micro df, micro prune")
	}
	return fmt.Errorf("receive an upload: %w", err)
}

func save(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
