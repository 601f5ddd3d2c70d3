package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/runtime"
)

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	// Update applies what fn returns, writes an audit line in the same transaction, and returns the State
	// after it. fn is pure and may run again.
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
}

// Views are the State together with the instances that were observed.
type Views interface {
	// AtLeast returns the latest view, once its State has reached the revision or ctx has ended.
	AtLeast(ctx context.Context, rev cloud.Revision) cloud.View
	// Changed returns as soon as the view is another than old.
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// Images bring an image into the node's store that is not built here.
type Images interface {
	Pull(ctx context.Context, ref string, progress func(runtime.Progress)) (runtime.Image, error)
	// Import reads an archive of exactly one image.
	Import(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error)
}

// Config is what a Deployer needs; all of it but Now is required.
type Config struct {
	Store   Store
	Views   Views
	Images  Images
	Builder runtime.Builder
	// Unpack writes an uploaded folder, a tar stream, below dir, which is empty. It refuses what does not
	// belong there, within Limits, and returns what it wrote, in the order of a walk.
	Unpack func(r io.Reader, dir string) ([]source.Entry, error)
	Limits source.Limits // of an uploaded folder
	// Dir is a folder for uploads, for the files of the last ones and for the output of builds. New removes
	// the uploads of an earlier process.
	Dir    string
	Domain cloud.Domain
	// URLs returns the addresses that open a host, the one that needs no set-up first.
	URLs func(cloud.Host) []string
	// Everywhere waits until the routers of all living nodes have a revision; nil for a cloud of one node.
	Everywhere func(ctx context.Context, rev cloud.Revision)
	Log        *slog.Logger
	Now        func() time.Time
}

func (c Config) validate() error {
	var errs []error
	for _, field := range []struct {
		name    string
		missing bool
	}{
		{"store", c.Store == nil}, {"views", c.Views == nil}, {"images", c.Images == nil}, {"builder", c.Builder == nil},
		{"unpack", c.Unpack == nil}, {"dir", c.Dir == ""}, {"domain", c.Domain == ""}, {"URLs", c.URLs == nil}, {"log", c.Log == nil},
	} {
		if field.missing {
			errs = append(errs, fmt.Errorf("deploy: no %s is configured", field.name))
		}
	}
	return errors.Join(errs...)
}

// Deployer carries out pushes.
type Deployer struct {
	cfg     Config
	log     *slog.Logger
	dir     string // of uploads under way
	sources *sources
	logs    buildLogs
	uploads *places // for uploads that are being received
	builds  *places // for images that are being built
	fetches *places // for images that are being pulled or imported
	images  heldImages
	running sync.WaitGroup

	// commit is held while a release is written or taken back: pushes of an app supersede one another in
	// the order in which they were created, however long each takes.
	commit sync.Mutex

	life context.Context // of all pushes
	end  context.CancelFunc

	mu   sync.Mutex
	seq  int
	byID map[string]*push
}

// New returns a Deployer. It accepts pushes at once, and Run must be called to end them.
func New(c Config) (*Deployer, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	d := &Deployer{
		cfg: c, log: c.Log, dir: filepath.Join(c.Dir, "uploads"), byID: map[string]*push{},
		uploads: newPlaces(maxUploads, maxUploadsPerGroup), builds: newPlaces(maxBuilds, maxBuildsPerGroup), fetches: newPlaces(maxFetches, maxFetchesPerGroup),
	}
	d.life, d.end = context.WithCancel(context.Background())
	if err := emptyFolder(d.dir); err != nil {
		return nil, fmt.Errorf("remove the uploads of an earlier process: %w", err)
	}
	var err error
	if d.sources, err = newSources(c.Dir, bootID()); err != nil {
		return nil, err
	}
	if d.logs, err = newBuildLogs(c.Dir); err != nil {
		return nil, err
	}
	return d, nil
}

// emptyFolder makes a folder, or removes what is in it: on a full disk it could not be made anew.
func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	items, err := os.ReadDir(dir)
	for _, item := range items {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, item.Name())))
	}
	return err
}

// Run blocks until ctx ends, then ends the pushes under way. A push that has written its release is found
// again by the next process.
func (d *Deployer) Run(ctx context.Context) error {
	<-ctx.Done()
	// A push is added with the lock held: none is added after this.
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
	d.running.Wait()
	return nil
}

var errStopping = cloud.Errorf(cloud.Unavailable, "the node is stopping").WithHint("try again when the node is back")

// Prune removes what only makes the next push faster, and the build output of releases that are gone.
func (d *Deployer) Prune(s *cloud.State) error {
	return errors.Join(d.logs.sweep(s), d.sources.clear())
}
