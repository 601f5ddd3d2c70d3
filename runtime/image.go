package runtime

import (
	"context"
	"io"
	"time"
)

// Image is one in the node's store, unpacked and ready to run.
type Image struct {
	Digest     string // of its manifest for this platform, "sha256:…"
	Name       string // what it was asked for by
	Size       int64  // bytes in the content store
	Created    time.Time
	Entrypoint []string
	Cmd        []string
	Env        []string
	User, Dir  string
	Ports      []int             // exposed over TCP: those of its own EXPOSE first, others ascending
	Volumes    []string          // folders whose data the image's author wants to outlive a container, sorted
	Labels     map[string]string // the config's labels and the manifest's annotations
	StopSignal string
}

// Images is the node's store of images. What none of the keep set of Prune names may go.
type Images interface {
	// Pull fetches an image by reference, by digest where the reference has one.
	Pull(ctx context.Context, ref string, progress func(Progress)) (Image, error)
	// Import reads an OCI layout or a `docker save` archive, plain or compressed, of exactly one image.
	Import(ctx context.Context, archive io.Reader, progress func(Progress)) (Image, error)
	// Get returns an image by digest; a *cloud.Error of code NotFound where there is none.
	Get(ctx context.Context, digest string) (Image, error)
	// Prune removes every image whose digest keep does not name and returns the bytes given back.
	Prune(ctx context.Context, keep map[string]bool) (int64, error)
}

// Builder makes an image from a folder.
type Builder interface {
	// Build returns when the image is in the store. A failed step is a *cloud.Error of code
	// DeployFailed that names the step and carries its last lines.
	Build(ctx context.Context, b Build) (Image, error)
}

// Build is a source folder and how to make an image of it.
type Build struct {
	Name       string // for the image's record, "shop"
	Source     string // folder, already unpacked and checked
	Dockerfile string // path inside Source; "" is "Dockerfile"
	// Apart are paths inside Source that COPY and ADD must not see. Where it is nil, that is what
	// NAME.dockerignore beside the Dockerfile says, else .dockerignore.
	Apart  []string
	Target string
	Args   map[string]string
	// Secrets are for RUN --mount=type=secret, by their IDs. No layer, log or cache has them.
	Secrets  map[string][]byte
	NoCache  bool
	Created  time.Time         // what the image says of itself; zero is the time of the build
	Labels   map[string]string // OCI annotations and labels to set
	Progress func(Progress)
}

// Progress is a step of a pull, import or build, for a person's eyes: a vertex of BuildKit's status
// for builds, a layer for pulls. A step is sent again whenever something of it changed.
type Progress struct {
	ID       string     `json:"id"`
	Name     string     `json:"name,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Cached   bool       `json:"cached,omitempty"`
	Error    string     `json:"error,omitempty"`
	Current  int64      `json:"current,omitempty"` // bytes
	Total    int64      `json:"total,omitempty"`
	Log      []byte     `json:"log,omitempty"` // output of the step since the last time
	LogToErr bool       `json:"log_to_err,omitempty"`
}
