package deploy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
)

// maxMissing bounds the bytes of the paths that an answer names. Where more is missing, all is uploaded.
const maxMissing = 4 << 20

// ListFiles reads the list of all that the folder of a push has. The answer names the files that have to be
// uploaded; where there are none the upload is complete with it. When the push ends meanwhile, stop is
// called from another goroutine, as for Receive.
func (d *Deployer) ListFiles(ctx context.Context, id string, body io.Reader, stop func()) (api.Push, error) {
	p, err := d.find(id)
	if err != nil {
		return api.Push{}, err
	}
	if p.request.Source == nil {
		return api.Push{}, cloud.Errorf(cloud.Conflict, "push %s does not upload a folder", p.id)
	}
	var missing []string
	shown, err := d.receiving(ctx, p, body, stop, func(ctx context.Context, p *push, body io.Reader) (complete bool, err error) {
		missing, complete, err = d.readList(ctx, p, body)
		return complete, err
	})
	shown.Missing = missing
	return shown, err
}

// readList compares a list with what is kept. It returns the paths of the missing files, nil where everything
// has to be uploaded, and whether the push has all it needs.
func (d *Deployer) readList(ctx context.Context, p *push, body io.Reader) (missing []string, complete bool, err error) {
	if p.listed {
		return nil, false, cloud.Errorf(cloud.Conflict, "the files of push %s are listed already", p.id)
	}
	ctx, giveBack, err := d.takeUpload(ctx, p)
	if err != nil {
		return nil, false, err
	}
	defer giveBack()
	list, err := source.ReadList(ctx, body, d.cfg.Limits)
	if err != nil {
		return nil, false, err
	}
	p.listed, p.list = true, list
	base, err := d.hold(p, d.sources.last(p.app))
	if base == nil || err != nil {
		return nil, false, err
	}
	if base.digest == source.Digest(list) {
		p.tree = base
		return []string{}, true, nil
	}
	known, err := base.entries()
	if err != nil {
		d.log.Warn("the files of the last upload cannot be used", "app", p.app.String(), "err", err)
		return nil, false, nil
	}
	p.base = base
	missing = source.Kept{Entries: known}.Missing(list)
	if len(missing) > 0 {
		return boundMissing(missing), false, nil
	}
	made := &tree{dir: p.uploadPath()}
	if err := os.MkdirAll(made.folder(), 0o700); err != nil {
		return nil, false, err
	}
	return missing, true, d.completeTree(p, made, nil)
}

// hold has the push release a tree at its end, and returns it; nil is held at once.
func (d *Deployer) hold(p *push, t *tree) (*tree, error) {
	if t == nil || p.hold(t) {
		return t, nil
	}
	return nil, cmp.Or(d.sources.release(t), context.Cause(p.ctx))
}

func boundMissing(paths []string) []string {
	size := 0
	for _, p := range paths {
		size += len(p) + 3
	}
	if size > maxMissing {
		return nil
	}
	return paths
}

// completeTree adds to what was sent what is known of the rest of the list, and keeps the tree for the next
// push.
func (d *Deployer) completeTree(p *push, made *tree, sent []source.Entry) error {
	all := sent
	if p.listed {
		kept := source.Kept{}
		if p.base != nil {
			known, err := p.base.entries()
			if err != nil {
				return err
			}
			kept = source.Kept{Dir: p.base.folder(), Entries: known}
		}
		var err error
		if all, err = kept.Complete(made.folder(), sent, p.list); err != nil {
			return err
		}
	}
	made.digest = source.Digest(all)
	if err := writeList(made.list(), all); err != nil {
		return err
	}
	kept, err := d.sources.keep(p.app, made)
	if err != nil {
		d.log.Warn("the files of an upload are not kept as they should be", "app", p.app.String(), "err", err)
	}
	if kept == nil {
		// The next push has to send everything; this one has what it needs in its own folder.
		p.tree = made
		return nil
	}
	p.tree, err = d.hold(p, kept)
	return err
}

func writeList(path string, entries []source.Entry) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := source.NewListWriter(f)
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			return err
		}
	}
	return w.Flush()
}
