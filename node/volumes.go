package node

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/volumes"
)

// volumeNodes reaches the volumes of all nodes.
type volumeNodes struct{ *Node }

var _ volumes.Nodes = volumeNodes{}

func (v volumeNodes) Write(ctx context.Context, node cloud.NodeName, app cloud.AppRef, volume string, w io.Writer) error {
	if node == v.cfg.Name {
		return v.writeVolume(ctx, app, volume, w)
	}
	resp, err := v.askNode(ctx, node, http.MethodGet, "/peer/volume", volumeQuery(app, volume), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); errors.Is(err, io.ErrUnexpectedEOF) {
		return cloud.Errorf(cloud.Unavailable, "node %s did not send all of volume %s", node, volume)
	} else if err != nil {
		return err
	}
	return nil
}

// writeVolume writes an archive of a volume of this node. Its app is paused until a copy has been made, unless it does not
// run: the archive is sent as slowly as its reader is.
func (n *Node) writeVolume(ctx context.Context, app cloud.AppRef, volume string, w io.Writer) error {
	view := n.snapshots.View()
	if _, halted := view.State.HaltingWork(app); halted && !view.HasVolumes(app) {
		return n.volumes.Write(ctx, w, app, volume)
	}
	spool, err := os.CreateTemp(n.volumes.Dir, ".copy-")
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil { // nobody needs its name
		return err
	}
	err = n.agent.Pause(ctx, app, func(ctx context.Context, _ int) error { return n.volumes.Write(ctx, spool, app, volume) })
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return cloud.Errorf(cloud.Unavailable, "the disk of node %s has no room for a copy of volume %s: %w", n.cfg.Name, volume, err)
	}
	if err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, spool)
	return err
}

func (v volumeNodes) Receive(ctx context.Context, node cloud.NodeName, rev cloud.Revision, w *cloud.VolumeWork, volume string, r io.Reader) error {
	if node == v.cfg.Name {
		return v.receiveVolume(ctx, rev, w.AppRef, w.ID, volume, r)
	}
	resp, err := v.sendNode(ctx, node, http.MethodPut, "/peer/volume", workQuery(rev, w, volume), r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// receiveVolume makes a volume of an archive, if the work is still under way.
func (n *Node) receiveVolume(ctx context.Context, rev cloud.Revision, app cloud.AppRef, id, volume string, r io.Reader) error {
	w, err := n.workOf(ctx, rev, app, id)
	if err != nil {
		return err
	}
	return n.volumes.Receive(ctx, r, w, volume)
}

// workOf returns a work that the state has since rev.
func (n *Node) workOf(ctx context.Context, rev cloud.Revision, app cloud.AppRef, id string) (*cloud.VolumeWork, error) {
	state := n.snapshots.AtLeast(ctx, rev).State
	w, ok := state.VolumeWork(app)
	if !ok || w.ID != id {
		return nil, cloud.Errorf(cloud.Conflict, "the work on volumes of %s was given up meanwhile", app)
	}
	return w, ctx.Err()
}

func (v volumeNodes) Exchange(ctx context.Context, node cloud.NodeName, rev cloud.Revision, w *cloud.VolumeWork) error {
	if node == v.cfg.Name {
		return v.exchangeVolumes(ctx, rev, w.AppRef, w.ID)
	}
	_, err := callNode[struct{}](ctx, v.Node, node, http.MethodPost, "/peer/volumes/exchange", workQuery(rev, w, ""))
	return err
}

// exchangeVolumes puts what this node has received in the place of what the app has, while nothing of the app runs here or
// starts.
func (n *Node) exchangeVolumes(ctx context.Context, rev cloud.Revision, app cloud.AppRef, id string) error {
	return n.agent.Pause(ctx, app, func(ctx context.Context, running int) error {
		w, err := n.workOf(ctx, rev, app, id)
		switch {
		case err != nil:
			return err
		case !w.Halts:
			return cloud.Errorf(cloud.Conflict, "%s may run", app)
		case running > 0:
			return cloud.Errorf(cloud.Conflict, "%d commands of %s have its volumes: wait for their end", running, app).WithCommand("micro ps %s", app)
		}
		return n.volumes.Exchange(w)
	})
}

func (v volumeNodes) Retire(ctx context.Context, node cloud.NodeName, w *cloud.VolumeWork) error {
	if node == v.cfg.Name {
		return v.retireVolumes(ctx, v.store.State().Rev(), w.AppRef)
	}
	_, err := callNode[struct{}](ctx, v.Node, node, http.MethodPost, "/peer/volumes/retire", workQuery(v.store.State().Rev(), w, ""))
	return err
}

// retireVolumes deletes the volumes that an app had here before they moved.
func (n *Node) retireVolumes(ctx context.Context, rev cloud.Revision, app cloud.AppRef) error {
	if home, ok := n.snapshots.AtLeast(ctx, rev).State.Home(app); !ok || home.Node == n.cfg.Name || ctx.Err() != nil {
		return cloud.Errorf(cloud.Conflict, "the volumes of %s are still on node %s", app, n.cfg.Name)
	}
	return n.volumes.Retire(app)
}

func (v volumeNodes) Used(ctx context.Context, node cloud.NodeName, app cloud.AppRef, names []string) (map[string]int64, error) {
	if node == v.cfg.Name {
		return v.volumes.Used(ctx, app, names)
	}
	q := volumeQuery(app, "")
	q["name"] = names
	return callNode[map[string]int64](ctx, v.Node, node, http.MethodGet, "/peer/volumes/used", q)
}

// volumesElsewhere returns the node that has the volumes of a release, if that is another one.
func (n *Node) volumesElsewhere(r cloud.ReleaseRef) (cloud.NodeName, bool) {
	state := n.snapshots.View().State
	rel, ok := state.Release(r)
	home, has := state.Home(r.AppRef)
	if !ok || !has || len(rel.Spec.Volumes) == 0 || home.Node == n.cfg.Name {
		return "", false
	}
	return home.Node, true
}

func volumeQuery(app cloud.AppRef, volume string) url.Values {
	return url.Values{"group": {string(app.Group)}, "app": {string(app.App)}, "volume": {volume}}
}

func workQuery(rev cloud.Revision, w *cloud.VolumeWork, volume string) url.Values {
	q := volumeQuery(w.AppRef, volume)
	q.Set("work", w.ID)
	q.Set("rev", strconv.FormatUint(uint64(rev), 10))
	return q
}

// volumeRequest is what another node asks about volumes of this one.
type volumeRequest struct {
	*http.Request
	app    cloud.AppRef
	volume string
	work   string
	rev    cloud.Revision
}

// parseVolumeRequest checks the names, because they become parts of paths.
func parseVolumeRequest(r *http.Request) (v volumeRequest, err error) {
	q := r.URL.Query()
	v = volumeRequest{r, cloud.AppRef{Group: cloud.GroupName(q.Get("group")), App: cloud.AppName(q.Get("app"))}, q.Get("volume"), q.Get("work"), 0}
	err = errors.Join(v.app.Group.Validate(), v.app.App.Validate())
	for _, name := range append(q["name"], v.volume) {
		if name != "" {
			err = errors.Join(err, cloud.Volume{Name: name, Path: "/data"}.Validate())
		}
	}
	if q.Has("rev") {
		rev, rerr := strconv.ParseUint(q.Get("rev"), 10, 64)
		v.rev, err = cloud.Revision(rev), errors.Join(err, rerr)
	}
	return v, err
}

// serveVolumes answers the other nodes.
func (n *Node) serveVolumes(mux *http.ServeMux) {
	serve := func(pattern string, do func(context.Context, volumeRequest) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := parseVolumeRequest(r)
			if err == nil {
				err = do(r.Context(), v)
			}
			answerPeer(w, struct{}{}, err)
		})
	}
	serve("PUT /peer/volume", func(ctx context.Context, v volumeRequest) error {
		return n.receiveVolume(ctx, v.rev, v.app, v.work, v.volume, v.Body)
	})
	serve("POST /peer/volumes/exchange", func(ctx context.Context, v volumeRequest) error { return n.exchangeVolumes(ctx, v.rev, v.app, v.work) })
	serve("POST /peer/volumes/retire", func(ctx context.Context, v volumeRequest) error { return n.retireVolumes(ctx, v.rev, v.app) })
	mux.HandleFunc("GET /peer/volumes/used", func(w http.ResponseWriter, r *http.Request) {
		v, err := parseVolumeRequest(r)
		var used map[string]int64
		if err == nil {
			used, err = n.volumes.Used(r.Context(), v.app, r.URL.Query()["name"])
		}
		answerPeer(w, used, err)
	})
	mux.HandleFunc("GET /peer/volume", n.serveVolume)
}

// serveVolume sends an archive of a volume. One that cannot be sent to its end breaks the connection off.
func (n *Node) serveVolume(w http.ResponseWriter, r *http.Request) {
	v, err := parseVolumeRequest(r)
	out := &written{Writer: w}
	if err == nil {
		err = n.writeVolume(r.Context(), v.app, v.volume, out)
	}
	switch {
	case err == nil:
	case !out.any:
		answerPeer(w, nil, err)
	default:
		n.log.Warn("a volume was not sent to its end", "app", v.app.String(), "volume", v.volume, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// written knows whether anything was written.
type written struct {
	io.Writer
	any bool
}

func (w *written) Write(p []byte) (int, error) {
	w.any = true
	return w.Writer.Write(p)
}
