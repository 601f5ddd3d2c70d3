package node

import (
	"context"
	"crypto/rand"
	"io"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/images"
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
	return d.router.Drain(ctx, string(id))
}

// writer lets the leader write, in micro's own name.
type writer struct{ store *store.Store }

func (w writer) Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	_, err := w.store.Update(ctx, cloud.Actor{Name: "micro", Source: "leader"}, verb, object, change)
	return err
}

// truth lets the API write in the name of whoever asks. What is written is in the router's table when
// Update returns.
type truth struct {
	store     *store.Store
	published *cloud.Cell
}

// longestWait is how long a change may wait for the router: it is written, whatever comes of that.
const longestWait = 5 * time.Second

func (t truth) State() *cloud.State { return t.store.State() }

func (t truth) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	s, err := t.store.Update(ctx, by, verb, object, fn)
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
