package deploytest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/runtime"
)

// Image is what every pull, import and build makes.
var Image = runtime.Image{Digest: "sha256:1111", Name: "docker.io/library/web:1", Ports: []int{8080}}

// Cloud is a store whose State is led by Lead.
type Cloud struct {
	*cloud.Cell
	t *testing.T

	// Making stands in for a build; nil makes Image at once.
	Making func(ctx context.Context, b runtime.Build) (runtime.Image, error)
	// Importing is called with each import, which then goes on; nil is nothing.
	Importing func(ctx context.Context)

	mu    sync.Mutex
	state *cloud.State
	audit []string
	// rollout returns the changes for a release that is starting; nil makes it current.
	rollout func(s *cloud.State, rel *cloud.Release) []cloud.Change
}

// New returns an empty cloud.
func New(t *testing.T) *Cloud {
	c := &Cloud{Cell: cloud.NewCell(), t: t}
	s := cloud.NewState()
	settings := cloud.Settings{Domain: "micro.test"}
	c.state = s.Apply(1, append(s.Init(cloud.Stamp{At: time.Now(), By: "test"}), cloud.Put(&settings)))
	c.SetState(c.state)
	return c
}

// State returns the latest State.
func (c *Cloud) State() *cloud.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Record notes what Audit returns.
func (c *Cloud) Record(_ context.Context, by cloud.Actor, verb, object, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.audit = append(c.audit, fmt.Sprintf("%s %s %s", by.Name, verb, object))
	return nil
}

// Update applies what fn returns. It runs fn twice, as a store does after a conflict.
func (c *Cloud) Update(_ context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fn(c.state); err != nil {
		return nil, err
	}
	changes, err := fn(c.state)
	if err != nil {
		return nil, err
	}
	c.audit = append(c.audit, fmt.Sprintf("%s %s %s", by.Name, verb, object))
	if len(changes) > 0 {
		c.state = c.state.Apply(c.state.Rev()+1, changes)
	}
	s := c.state
	go c.SetState(s) // a view lags behind
	return s, nil
}

// Refused keeps an audit line of a request that was not allowed.
func (c *Cloud) Refused(by cloud.Actor, verb, object string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.audit = append(c.audit, fmt.Sprintf("%s %s %s: refused", by.Name, verb, object))
}

// Audit returns a line "actor verb object" for each change so far.
func (c *Cloud) Audit() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.audit)
}

// OnRollout replaces what happens to a release that is starting, and no instances are started any more; nil
// makes the release current again.
func (c *Cloud) OnRollout(rollout func(*cloud.State, *cloud.Release) []cloud.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rollout = rollout
}

func (c *Cloud) rolloutReplaced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rollout != nil
}

// Lead does a node's work until ctx ends: instances are ready at once, and so are releases.
func (c *Cloud) Lead(ctx context.Context) {
	view := c.View()
	for ctx.Err() == nil {
		for rel := range view.State.AllReleases() {
			c.start(view, rel)
			if view.State.PhaseOf(rel) == cloud.PhaseStarting {
				c.finish(ctx, rel)
			}
		}
		var err error
		if view, err = c.Changed(ctx, view); err != nil {
			return
		}
	}
}

// finish makes a release that is starting current, staged or whatever the test wants.
func (c *Cloud) finish(ctx context.Context, rel *cloud.Release) {
	_, err := c.Update(ctx, cloud.Actor{Name: "micro"}, "rollout", rel.ReleaseRef.String(), func(s *cloud.State) ([]cloud.Change, error) {
		now, ok := s.Release(rel.ReleaseRef)
		if !ok || s.PhaseOf(now) != cloud.PhaseStarting {
			return nil, nil
		}
		if c.rollout != nil {
			return c.rollout(s, now), nil
		}
		if now.Staged {
			return s.MarkUp(now.ReleaseRef), nil
		}
		return s.FinishRollout(now.AppRef, time.Now().Add(time.Minute), cloud.Stamp{At: time.Now()}), nil
	})
	if err != nil {
		c.t.Error(err)
	}
}

// start makes the instances of a release what they are to be.
func (c *Cloud) start(v cloud.View, rel *cloud.Release) {
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if !v.State.Runs(rel) || i.Index >= rel.Formation[i.Process].Instances || i.Generation < rel.Generation {
			c.Observe(func(o *cloud.Instances) *cloud.Instances { return o.Without(i.ID) })
		}
	}
	if !v.State.Runs(rel) || c.rolloutReplaced() {
		return
	}
	for name, scale := range rel.Formation {
		for index := range scale.Instances {
			i := &cloud.Instance{
				ID: cloud.InstanceID(fmt.Sprintf("%s-r%d-%s-%d-g%d", rel.App, rel.N, name, index, rel.Generation)), Generation: rel.Generation,
				Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: name, Index: index}, Phase: cloud.InstanceReady, PID: 4711, Node: "n1",
				Addr: netip.MustParseAddrPort("10.0.0.2:8080"), Since: time.Now(), Started: time.Now(),
			}
			c.Observe(func(o *cloud.Instances) *cloud.Instances {
				if _, ok := o.Get(i.ID); ok {
					return o
				}
				return o.With(i)
			})
		}
	}
}

// Pull makes Image, or fails for the reference "nowhere".
func (c *Cloud) Pull(_ context.Context, ref string, progress func(runtime.Progress)) (runtime.Image, error) {
	if ref == "nowhere" {
		return runtime.Image{}, cloud.Errorf(cloud.NotFound, "no image %q", ref)
	}
	progress(runtime.Progress{ID: "layer", Name: "layer", Total: 10})
	return Image, nil
}

// Import calls Importing, reads r to its end and makes Image.
func (c *Cloud) Import(ctx context.Context, r io.Reader, _ func(runtime.Progress)) (runtime.Image, error) {
	if c.Importing != nil {
		c.Importing(ctx)
	}
	_, err := io.Copy(io.Discard, r)
	return Image, err
}

// Build calls Making, or makes Image in one step that prints two lines.
func (c *Cloud) Build(ctx context.Context, b runtime.Build) (runtime.Image, error) {
	if c.Making != nil {
		return c.Making(ctx, b)
	}
	b.Progress(runtime.Progress{ID: "1", Name: "[1/1] FROM scratch", Log: []byte("hello\nwor")})
	b.Progress(runtime.Progress{ID: "1", Log: []byte("ld\n")})
	return Image, nil
}

// Unpack stands in for the reader of tar streams: it writes what it reads as the Dockerfile. It refuses a
// text that begins with "evil" as soon as it has read that, and writes nothing for "empty".
func Unpack(r io.Reader, dir string) ([]source.Entry, error) {
	begin := make([]byte, 4)
	n, err := io.ReadFull(r, begin)
	if string(begin[:n]) == "evil" {
		return nil, cloud.Errorf(cloud.Invalid, "the upload has a path outside the folder")
	}
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	rest, err := io.ReadAll(r)
	b := append(begin[:n], rest...)
	if err != nil || string(b) == "empty" {
		return nil, err
	}
	sum := sha256.Sum256(b)
	file := source.Entry{Path: "Dockerfile", Mode: 0o600, Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	return []source.Entry{file}, os.WriteFile(filepath.Join(dir, file.Path), b, file.Mode)
}
