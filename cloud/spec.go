package cloud

// Spec is what a release runs. Nothing of it changes once the release exists.
type Spec struct {
	Image     Image                   `json:"image"`
	Processes map[ProcessName]Process `json:"processes"`
	Env       map[string]string       `json:"env,omitempty"`
	// Secrets are the names of variables of Env whose values are shown only to who asks for one by name. Ascending.
	Secrets []string `json:"secrets,omitempty"`
	Volumes []Volume `json:"volumes,omitempty"`
	// Bindings are the services that instances have accounts at.
	Bindings []Binding `json:"bindings,omitempty"`
	Strategy Strategy  `json:"strategy"`
	// Cron are run while the release is current.
	Cron []Job `json:"cron,omitempty"`
	// Routes are what the manifest asks to be mapped, once the release has come up.
	Routes []RouteSpec `json:"routes,omitempty"`
	// NoRoute has the app taken out of the routes that follow its current release, at the same time.
	NoRoute bool `json:"no_route,omitempty"`
	// Overlap is false for an app whose releases can't serve side by side.
	Overlap     bool              `json:"overlap"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Place are labels that a node must have to run instances of the release. NodeLabel is the node's own name.
	Place map[string]string `json:"place,omitempty"`
	// Guards are counters of the app that a cross-fade to the release compares.
	Guards []MetricGuard `json:"guards,omitempty"`
}

// Main returns the process that a command is about where it names none: web, or the first one of a release
// without web.
func (s Spec) Main() ProcessName {
	if _, ok := s.Processes[Web]; ok {
		return Web
	}
	for _, name := range sortedKeys(s.Processes) {
		if name != ReleaseCommand {
			return name
		}
	}
	return Web
}

// Image is what a release was made from. It runs by digest; Name is for people.
type Image struct {
	Digest string `json:"digest"`
	Name   string `json:"name"`
}

// Process is one kind of process of a release: "web", "worker" ….
type Process struct {
	Command   string   `json:"command,omitempty"` // for a shell; "" is the image's own
	Port      int      `json:"port,omitempty"`    // where it listens, 1 to 65535; 0 for one that nothing is routed to
	Startup   Duration `json:"startup"`           // how long it may take to become ready
	StopGrace Duration `json:"stop_grace"`        // between SIGTERM and SIGKILL
	// Protocol is what requests to Port are spoken in; "" is HTTP/1.1.
	Protocol  Protocol `json:"protocol,omitempty"`
	NoInit    bool     `json:"no_init,omitempty"` // its program is process 1 itself
	Liveness  Check    `json:"liveness"`          // failing replaces the instance
	Readiness Check    `json:"readiness"`         // failing takes it out of routing
}

// Protocol is what an app speaks.
type Protocol string

// The protocols that are not HTTP/1.1.
const (
	ProtocolHTTP1 Protocol = "http1"
	ProtocolHTTP2 Protocol = "http2" // in cleartext, with prior knowledge: gRPC
)

// CheckType says how a process is found to be well.
type CheckType string

// The types of checks. CheckProcess asks no more than that the process runs.
const (
	CheckPort    CheckType = "port"
	CheckGRPC    CheckType = "grpc" // gRPC's health checking protocol, of the server as a whole
	CheckHTTP    CheckType = "http"
	CheckProcess CheckType = "process"
	// CheckCommand runs a command line in the instance, once its port answers.
	CheckCommand CheckType = "command"
)

// Check is a health check.
type Check struct {
	Type     CheckType `json:"type"`
	Path     string    `json:"path,omitempty"`     // of an HTTP check, which wants a 200
	Script   string    `json:"script,omitempty"`   // of a command check, for a shell
	Interval Duration  `json:"interval,omitempty"` // between two checks
	Timeout  Duration  `json:"timeout,omitempty"`  // of one check
}

// StrategyKind says how a new release takes over.
type StrategyKind string

// The strategies. With Rolling new instances join as they become ready; with Cutover none joins before
// all are; with Recreate the old ones end first.
const (
	Rolling  StrategyKind = "rolling"
	Cutover  StrategyKind = "cutover"
	Recreate StrategyKind = "recreate"
)

// Strategy is how a release takes over from the one before.
type Strategy struct {
	Kind  StrategyKind `json:"kind"`
	Batch int          `json:"batch,omitempty"` // instances started at a time; 0 is all
	// Surge is how many instances more than the formation may exist while a release is rolled in place,
	// those that finish their last requests included; nil sets no bound beside Batch. With 0 instances are
	// taken down before their replacements start, but never the last that is ready.
	Surge *int `json:"surge,omitempty"`
}

// Scale is how much of a process runs.
type Scale struct {
	Instances int   `json:"instances"`
	Memory    int64 `json:"memory"`        // bytes an instance, a limit
	CPU       int64 `json:"cpu,omitempty"` // thousandths of a core an instance, a limit; 0 is all of the node's
	// Disk is how many bytes of files of its own an instance may have, volumes left out; 0 is no limit.
	Disk int64 `json:"disk,omitempty"`
}

// Formation is how much of each process of a release runs. It changes in place and stays with its release.
type Formation map[ProcessName]Scale

// Instances is the sum over all processes that stay up.
func (f Formation) Instances() int {
	n := 0
	for name, s := range f {
		if name != ReleaseCommand {
			n += s.Instances
		}
	}
	return n
}

// AtLeast raises every process to what other has of it, and leaves the rest.
func (f Formation) AtLeast(other Formation) Formation {
	raised := make(Formation, len(f))
	for name, s := range f {
		o := other[name]
		s.Instances = max(s.Instances, o.Instances)
		s.Memory = max(s.Memory, o.Memory)
		if o.Instances > 0 {
			s.CPU, s.Disk = laxer(s.CPU, o.CPU), laxer(s.Disk, o.Disk)
		}
		raised[name] = s
	}
	return raised
}

// laxer is the higher one of two limits, of which 0 is none.
func laxer(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}
