package node

import (
	"context"
	"crypto/rand"
	"io"
	"net/netip"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/disk"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/store"
)

// What follows makes the parts fit the small interfaces of those that use them.

func now() time.Time { return time.Now().UTC() }

func cores() int { return goruntime.NumCPU() }

// suffix is six letters and digits that make an instance's ID its own.
func suffix() string { return strings.ToLower(rand.Text()[:6]) }

// drainer lets the agent take instances out of the router.
type drainer struct{ router *router.Router }

func (d drainer) Drain(ctx context.Context, id cloud.InstanceID) error {
	return d.router.Drain(ctx, id)
}

// writer lets the leader write, in micro's own name. Where instances run in consequence is written with it.
type writer struct {
	store *store.Store
	views *cloud.Cell
}

func (w writer) Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	_, err := w.store.Update(ctx, cloud.Actor{Name: "micro", Source: "leader"}, verb, object, leader.WithPlaces(w.views.View, change))
	return err
}

// truth lets the API write in the name of whoever asks. What is written is in the router's table when
// Update returns, and where instances run in consequence is written with it.
type truth struct {
	store            *store.Store
	views, published *cloud.Cell
}

// longestWait is how long a change may wait for the router: it is written, whatever comes of that.
const longestWait = 5 * time.Second

func (t truth) State() *cloud.State { return t.store.State() }

func (t truth) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	s, err := t.store.Update(ctx, by, verb, object, leader.WithPlaces(t.views.View, fn))
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	t.published.AtLeast(ctx, s.Rev())
	return s, nil
}

// commands lets the API run commands, and tells it what instances use.
type commands struct {
	driver runtime.Driver
	agent  *runtime.Agent
}

func (r commands) Exec(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
	return r.driver.Exec(ctx, string(id), c)
}

func (r commands) Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error) {
	return r.driver.Stats(ctx, string(id))
}

func (r commands) Run(ctx context.Context, o handler.OneOff) (int, error) {
	return r.agent.RunOnce(ctx, o.Release, o.Process, o.Memory, o.Command)
}

// imageStore shows the API the node's store of images.
type imageStore struct{ *images.Store }

func (i imageStore) Load(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	image, err := i.Import(ctx, archive, progress)
	if err != nil {
		return image, err
	}
	if image.Name == "" {
		return image, cloud.Errorf(cloud.Invalid, "the archive names its image nothing, and FROM could not find it").
			WithHint("save it with a name, for example docker save NAME:TAG")
	}
	return image, i.Tag(ctx, image.Digest, image.Name)
}

// tenants tells the DNS server whose a container is: an instance's, or one for a single command, which no view shows.
type tenants struct {
	net   *network.Network
	views *cloud.Cell
}

// GroupOf implements dnsd.Groups.
func (t tenants) GroupOf(client netip.Addr) string {
	tenant, ok := t.net.Tenant(client)
	if !ok {
		return ""
	}
	for g := range t.views.View().State.Groups() {
		if g.Number == tenant {
			return string(g.Name)
		}
	}
	return ""
}

// passes signs passes to releases for the API.
type passes struct{ secret []byte }

func (p passes) Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string {
	return router.Pass(p.secret, h, r, until)
}

// space shows the API the node's disk, and frees what nothing needs.
type space struct {
	data      string
	store     *store.Store
	pushes    *deploy.Deployer
	retention *leader.Retention
	janitor   *janitor.Janitor
	builder   *build.Builder
}

func (s space) Disk(ctx context.Context) (api.Disk, error) { return disk.Usage(ctx, s.data) }

// Prune removes images that no release can be rolled back to, and what pushes and builds keep for speed.
func (s space) Prune(ctx context.Context) (api.Pruned, error) {
	if err := s.pushes.Prune(s.store.State()); err != nil {
		return api.Pruned{}, err
	}
	if err := s.retention.Prune(ctx); err != nil {
		return api.Pruned{}, err
	}
	images, err := s.janitor.Prune(ctx)
	if err != nil {
		return api.Pruned{}, err
	}
	cache, err := s.builder.Prune(ctx)
	return api.Pruned{Bytes: images + cache}, err
}
