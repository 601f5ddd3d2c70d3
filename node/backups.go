package node

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/protoduction/micro/backup"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services"
	"github.com/protoduction/micro/services/broker"
)

// backupsFolder is the node's own folder of backups, in its data folder.
const backupsFolder = "backups"

// openBackups creates what keeps the files of backups.
func (n *Node) openBackups() error {
	n.archives = &backup.Keeper{
		Node: n.cfg.Name, Dir: n.data.Path(backupsFolder), Keys: func() backup.Keys { return n.keys }, State: n.store.State, Nodes: backupNodes{n}, Now: n.now,
	}
	return n.archives.Clear()
}

// provider creates what makes backing services.
func (n *Node) provider(s apiStore, run commands) *services.Provider {
	return &services.Provider{
		Store: s, Views: n.snapshots, Images: n.copies, Commands: serviceCommands{run}, Archives: n.archives, Volumes: volumesOfAll{n}, HTTP: broker.NewHTTP(),
		Node: n.cfg.Name, Process: rand.Text(), Log: n.log, Now: n.now,
	}
}

// clearRetry is the pause after unfinished services could not be removed, for example because there is no leader yet.
const clearRetry = 2 * time.Second

// clearServices removes the unfinished services that an earlier process of this node has left.
func (n *Node) clearServices(ctx context.Context) error {
	for {
		err := n.services.DiscardOwn(ctx)
		if err == nil || ctx.Err() != nil {
			<-ctx.Done()
			return nil
		}
		n.log.Warn("cannot remove unfinished services yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(clearRetry):
		}
	}
}

// volumesOfAll are the volumes of all nodes.
type volumesOfAll struct{ *Node }

// volumesTimeout is how long the other nodes may take to drop volumes.
const volumesTimeout = 10 * time.Second

// Drop removes all volumes of an app, on every living node. It fails if the node is down that has them; the data of one that
// has left the cloud is not this cloud's any more.
func (v volumesOfAll) Drop(ctx context.Context, app cloud.AppRef) error {
	state := v.store.State()
	if home, ok := state.Home(app); ok && home.Node != v.cfg.Name {
		if _, member := state.Node(home.Node); member && !v.lives(home.Node) {
			return cloud.Errorf(cloud.Unavailable, "node %s, which has the volumes of %s, is down", home.Node, app).WithCommand("micro node list")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, volumesTimeout)
	defer cancel()
	v.everyNode(ctx, http.MethodPost, "/peer/drop-volumes", url.Values{"group": {string(app.Group)}, "app": {string(app.App)}})
	return errors.Join(v.volumes.Drop(app), ctx.Err())
}

// servePeerVolumes drops the volumes of an app on this node.
func (n *Node) servePeerVolumes(w http.ResponseWriter, r *http.Request) {
	app := cloud.AppRef{Group: cloud.GroupName(r.FormValue("group")), App: cloud.AppName(r.FormValue("app"))}
	err := errors.Join(app.Group.Validate(), app.App.Validate())
	if err == nil {
		err = n.volumes.Drop(app)
	}
	answerPeer(w, struct{}{}, err)
}

// backupNodes reaches the backups that other nodes have.
type backupNodes struct{ *Node }

func (b backupNodes) Open(ctx context.Context, of *cloud.Backup) (io.ReadCloser, error) {
	resp, err := b.askNode(ctx, of.Node, http.MethodGet, "/peer/backup", backupQuery(of), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (b backupNodes) Remove(ctx context.Context, of *cloud.Backup) error {
	_, err := callNode[struct{}](ctx, b.Node, of.Node, http.MethodDelete, "/peer/backup", backupQuery(of))
	return err
}

func backupQuery(b *cloud.Backup) url.Values {
	return url.Values{"group": {string(b.Group)}, "app": {string(b.App)}, "id": {string(b.ID)}}
}

// servePeerBackup sends the file of a backup that this node has, or removes it. Only backups that the state knows are
// reached so.
func (n *Node) servePeerBackup(w http.ResponseWriter, r *http.Request) {
	app := cloud.AppRef{Group: cloud.GroupName(r.FormValue("group")), App: cloud.AppName(r.FormValue("app"))}
	b, err := n.store.State().MustBackup(app, cloud.BackupID(r.FormValue("id")))
	if err != nil || r.Method == http.MethodDelete {
		if err == nil {
			err = n.archives.RemoveHere(r.Context(), b)
		}
		answerPeer(w, struct{}{}, err)
		return
	}
	file, err := n.archives.OpenHere(r.Context(), b)
	if err != nil {
		answerPeer(w, nil, err)
		return
	}
	defer file.Close()
	if _, err := io.Copy(w, file); err != nil {
		n.log.Warn("a backup was not sent to its end", "backup", b.FileName(), "err", err)
		panic(http.ErrAbortHandler)
	}
}
