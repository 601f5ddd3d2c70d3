package imagecopies

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/images"
)

type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

type store interface {
	Get(ctx context.Context, digest string) (runtime.Image, error)
	Fetch(ctx context.Context, digest string, from []images.Source, progress func(runtime.Progress)) (runtime.Image, error)
	Pull(ctx context.Context, name string, progress func(runtime.Progress)) (runtime.Image, error)
	Names(ctx context.Context) (digests map[string]string, err error)
	Tag(ctx context.Context, digest, name string) error
	Untag(ctx context.Context, name string) error
}

// Config has what Copies needs.
type Config struct {
	Node  cloud.NodeName
	Views views
	Store store
	// Client returns a client whose requests go to the image handler of another node; nil as long as this node is the
	// whole cloud.
	Client func(cloud.NodeName) *http.Client
	// Adopt writes names into the state that it does not know, by their images' digests.
	Adopt func(ctx context.Context, digests map[string]string) error
	Log   *slog.Logger
	Now   func() time.Time
}

// Copies is a node's store of images that lacks no image which another node has.
type Copies struct {
	Config
	mu       sync.Mutex
	fetching map[string]*fetch
	copying  map[string]bool // images that Run fetches or is about to

	naming  sync.Mutex         // held while names are given
	named   []*cloud.ImageName // those that this node has given; nil before it has given all of a view
	unnamed string             // why it could not give all when it last tried
}

// fetch is a transfer that several callers may wait for.
type fetch struct {
	done  chan struct{} // closed at its end
	image runtime.Image
	err   error
}

// New returns Copies.
func New(cfg Config) *Copies {
	return &Copies{Config: cfg, fetching: map[string]*fetch{}, copying: map[string]bool{}}
}

// Get returns an image, which it brings from another node if this one does not have it.
func (c *Copies) Get(ctx context.Context, digest string) (runtime.Image, error) {
	image, err := c.Store.Get(ctx, digest)
	if cloud.CodeOf(err) != cloud.NotFound {
		return image, err
	}
	sources := c.sources(digest)
	if len(sources) == 0 {
		return image, err
	}
	c.mu.Lock()
	f := c.fetching[digest]
	if f == nil {
		f = &fetch{done: make(chan struct{})}
		c.fetching[digest] = f
		go c.fetch(context.WithoutCancel(ctx), digest, sources, f)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.image, f.err
	case <-ctx.Done():
		return runtime.Image{}, ctx.Err()
	}
}

// fetchLimit ends a transfer that makes no progress any more in a way that nothing else notices.
const fetchLimit = time.Hour

func (c *Copies) fetch(ctx context.Context, digest string, sources []images.Source, f *fetch) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	begun := c.Now()
	f.image, f.err = c.Store.Fetch(ctx, digest, sources, nil)
	if f.err == nil {
		c.Log.Info("fetched an image from another node", "image", digest, "bytes", f.image.Size, "took", c.Now().Sub(begun).String())
	}
	c.mu.Lock()
	delete(c.fetching, digest)
	c.mu.Unlock()
	close(f.done)
}

func (c *Copies) sources(digest string) (list []images.Source) {
	for _, n := range Sources(c.Views.View(), c.Node, digest) {
		if client := c.Client(n); client != nil {
			list = append(list, images.Source{Node: n, Client: client})
		}
	}
	return list
}

const (
	// retryAfter is how long Run waits after an image could not be fetched.
	retryAfter = 10 * time.Second
	// atOnce is how many copies Run fetches at a time.
	atOnce = 2
)

// Run fetches the images that this node is to keep a copy of, until ctx ends.
func (c *Copies) Run(ctx context.Context) error {
	var transfers sync.WaitGroup
	defer transfers.Wait()
	places := make(chan struct{}, atOnce)
	failed := make(chan cloud.AppRef)
	var work cloud.Worklist
	var old cloud.View
	view := c.Views.View()
	for {
		apps := work.Next(view, c.Now())
		if nodes, ok := view.TouchedNodes(old); old.State != nil && (!ok || len(nodes) > 0) {
			apps = nil
			for a := range view.State.Apps("") {
				apps = append(apps, a.AppRef)
			}
		}
		for _, app := range apps {
			for _, digest := range c.wanted(view, app) {
				if !c.begin(ctx, digest) {
					continue
				}
				transfers.Go(func() {
					defer c.end(digest)
					select {
					case places <- struct{}{}:
					case <-ctx.Done():
						return
					}
					_, err := c.Get(ctx, digest)
					<-places
					if err != nil && ctx.Err() == nil {
						c.Log.Warn("cannot copy an image from another node yet", "image", digest, "err", err)
						select {
						case failed <- app:
						case <-ctx.Done():
						}
					}
				})
			}
		}
		old = view
		var err error
		if view, err = c.next(ctx, &work, view, failed); err != nil {
			return nil
		}
	}
}

// begin reports whether Run has to fetch an image: it is not here, and not on its way.
func (c *Copies) begin(ctx context.Context, digest string) bool {
	if _, err := c.Store.Get(ctx, digest); cloud.CodeOf(err) != cloud.NotFound {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copying[digest] {
		return false
	}
	c.copying[digest] = true
	return true
}

func (c *Copies) end(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.copying, digest)
}

// next waits for another view, or until something is to be tried again.
func (c *Copies) next(ctx context.Context, work *cloud.Worklist, view cloud.View, failed <-chan cloud.AppRef) (cloud.View, error) {
	changed := make(chan cloud.View, 1)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if next, err := c.Views.Changed(waiting, view); err == nil {
			changed <- next
		}
	}()
	var due <-chan time.Time
	if at := work.Earliest(); !at.IsZero() {
		timer := time.NewTimer(at.Sub(c.Now()))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case next := <-changed:
		return next, nil
	case app := <-failed:
		work.Due(app, c.Now().Add(retryAfter))
		return view, nil
	case <-due:
		return view, nil
	case <-ctx.Done():
		return view, ctx.Err()
	}
}

// wanted returns the images of an app that run, and that this node is to keep. A cloud of one node wants none.
func (c *Copies) wanted(v cloud.View, app cloud.AppRef) (digests []string) {
	if len(living(v)) < 2 {
		return nil
	}
	for rel := range v.State.Releases(app) {
		d := rel.Spec.Image.Digest
		if d != "" && v.State.Runs(rel) && !slices.Contains(digests, d) && slices.Contains(Holders(v, d), c.Node) {
			digests = append(digests, d)
		}
	}
	return digests
}
