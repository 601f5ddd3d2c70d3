package build

import (
	"encoding/json"
	"net/netip"
	"os"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// ChildArg is the first argument that makes the program the build process.
const ChildArg = "__build"

// ListenerFD is the file descriptor of the socket on which the build process accepts requests.
const ListenerFD = 3

// OOMScore is the oom_score_adj of builds: if the machine runs out of memory, the kernel kills builds first, then apps, and
// the node last.
const OOMScore = 500

// Settings are sent to the build process as one line of JSON on its standard input, which stays open as long as the node
// runs. At its end the process ends, too.
type Settings struct {
	Root         string       `json:"root"`       // BuildKit's own state; absolute
	Containerd   string       `json:"containerd"` // address of its gRPC socket
	Namespace    string       `json:"namespace"`
	Snapshotter  string       `json:"snapshotter"`
	Snapshots    string       `json:"snapshots"` // the snapshotter's folder
	Runc         string       `json:"runc"`
	Cgroup       string       `json:"cgroup,omitempty"`  // parent of the steps' cgroups
	Sandbox      string       `json:"sandbox,omitempty"` // socket from which steps get networks; "" for no networks
	Resolvers    []netip.Addr `json:"resolvers,omitempty"`
	CertsDir     string       `json:"certs_dir,omitempty"`
	DockerConfig string       `json:"docker_config,omitempty"`
	CacheKeep    int64        `json:"cache_keep"` // bytes
	CacheMax     int64        `json:"cache_max"`  // bytes
	Parallel     int          `json:"parallel"`   // steps at a time
	ImageName    string       `json:"image_name"` // images are recorded as this, "@" and the digest
}

// Request is the first message on a connection to the build process. Closing the connection cancels it.
type Request struct {
	Name       string            `json:"name"`
	Source     string            `json:"source"`
	List       string            `json:"list,omitempty"`
	Digest     string            `json:"digest,omitempty"`
	Dockerfile string            `json:"dockerfile"`
	Apart      []string          `json:"apart,omitzero"` // see runtime.Build
	Target     string            `json:"target,omitempty"`
	Args       map[string]string `json:"args,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Secrets    map[string][]byte `json:"secrets,omitempty"`
	NoCache    bool              `json:"no_cache,omitempty"`
	Created    time.Time         `json:"created,omitzero"`
	Prune      bool              `json:"prune,omitempty"` // empty the cache instead of building
}

// Event is an answer: any number of events with Progress, then one with Done or Failure.
type Event struct {
	Progress *runtime.Progress `json:"progress,omitempty"`
	Done     bool              `json:"done,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Freed    int64             `json:"freed,omitempty"` // bytes
	Failure  *Failure          `json:"failure,omitempty"`
}

// Failure is a *cloud.Error on the wire.
type Failure struct {
	Code    cloud.Code `json:"code"`
	Msg     string     `json:"msg"`
	Hint    string     `json:"hint,omitempty"`
	Command []string   `json:"command,omitempty"`
}

func (f *Failure) err() error {
	return &cloud.Error{Code: f.Code, Msg: f.Msg, Hint: f.Hint, Command: f.Command}
}

// network is the node's answer about a network. The file descriptors of the namespaces are sent with it.
type network struct {
	Error string `json:"error,omitempty"`
}

// ReadSettings reads exactly the line of settings from f.
func ReadSettings(f *os.File) (Settings, error) {
	var s Settings
	err := json.NewDecoder(f).Decode(&s)
	return s, err
}
