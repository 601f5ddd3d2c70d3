package runtime

import (
	"context"
	"io"
	"time"
)

// Image is an image in the node's store, unpacked and ready to run.
type Image struct {
	Digest     string // of its manifest for this platform, "sha256:…"
	Name       string // the name by which it was requested
	Size       int64  // bytes in the content store
	Created    time.Time
	Entrypoint []string
	Cmd        []string
	Env        []string
	User, Dir  string
	Ports      []int             // exposed over TCP: those of its own EXPOSE first, others ascending
	Volumes    []string          // folders that the image declares as volumes, sorted
	Labels     map[string]string // the config's labels and the manifest's annotations
	StopSignal string
}

// Blob is a part of an image: its manifest, its config or a layer.
type Blob struct {
	Digest string
	Size   int64 // bytes
}

// Images is the node's store of images.
type Images interface {
	// Pull fetches an image by reference, with or without a digest.
	Pull(ctx context.Context, ref string, progress func(Progress)) (Image, error)
	// Import reads an OCI layout or a `docker save` archive, plain or compressed, of exactly one image.
	Import(ctx context.Context, archive io.Reader, progress func(Progress)) (Image, error)
	// Get returns an image by digest, or a *cloud.Error of code NotFound.
	Get(ctx context.Context, digest string) (Image, error)
	// Prune removes every image whose digest is not in keep.
	Prune(ctx context.Context, keep func() map[string]bool) error
}

// Builder builds images from folders.
type Builder interface {
	// Build returns when the image is in the store. If a step fails, it returns a *cloud.Error of code
	// DeployFailed with the step and its last lines.
	Build(ctx context.Context, b Build) (Image, error)
}

// Build describes how to build an image from a source folder.
type Build struct {
	Name       string // for the image's record, "shop"
	Source     string // folder, already unpacked and checked, which nobody changes
	List       string // file that lists all that is in Source (cloud/source.ReadList); "" where there is none
	Digest     string // of what is in Source, where there is a List
	Dockerfile string // path inside Source; "" is "Dockerfile"
	// Apart are paths inside Source that COPY and ADD must not see. If it is nil, they are read from
	// NAME.dockerignore beside the Dockerfile, or from .dockerignore.
	Apart  []string
	Target string
	Args   map[string]string
	// Secrets are for RUN --mount=type=secret, by ID. No layer, log or cache contains them.
	Secrets  map[string][]byte
	NoCache  bool
	Created  time.Time         // what the image says of itself; zero is the time of the build
	Labels   map[string]string // OCI annotations and labels to set
	Progress func(Progress)
}

// Progress is the state of a step of a pull, import or build, for users. A step is a layer of a pull, or a vertex of
// BuildKit's status. It is sent again whenever it has changed.
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
