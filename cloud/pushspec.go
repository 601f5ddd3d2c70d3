package cloud

import (
	"maps"
	"time"
)

// PushSpec is what a person asks for with a push, read from a manifest and flags, before there is an image.
// What was not said is nil: it comes from the parent release, then from the defaults.
type PushSpec struct {
	Processes map[ProcessName]ProcessSpec `json:"processes,omitempty"`
	Env       map[string]string           `json:"env,omitempty"`
	// Volumes are all volumes that the app is to have; empty for none, nil for those of the parent.
	Volumes     []Volume          `json:"volumes,omitzero"`
	Strategy    *Strategy         `json:"strategy,omitempty"`
	Overlap     *bool             `json:"overlap,omitempty"`
	Routes      []RouteSpec       `json:"routes,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Place are labels that a node must have; empty for none, nil for those of the parent.
	Place map[string]string `json:"place,omitzero"`
	// Guards are counters that cross-fades compare; empty for none, nil for those of the parent.
	Guards []MetricGuard `json:"guards,omitzero"`
	// Services are bindings that the release is to have, beside those that it inherits.
	Services []Binding `json:"services,omitempty"`
	// Rebind has the service to use instead of one that the release would inherit.
	Rebind map[AppName]AppName `json:"rebind,omitempty"`
	// Cron are all jobs that the app is to have.
	Cron []Job `json:"cron,omitempty"`
	// NoRoute takes the app out of every route that follows its current release, once the release has come up.
	NoRoute bool `json:"no_route,omitempty"`
	// NoWeb makes a release without the process web: nothing of it listens. Its processes start with one
	// instance each.
	NoWeb bool `json:"no_web,omitempty"`
	// EnvDefaults is the environment that a new app starts with; what was set since then stays.
	EnvDefaults map[string]string `json:"env_defaults,omitempty"`
	// EnvRequired are variables that must have a value from somewhere.
	EnvRequired []string `json:"env_required,omitempty"`
}

// ProcessSpec is what is said of one process.
type ProcessSpec struct {
	Command   *string   `json:"command,omitempty"`
	Instances *int      `json:"instances,omitempty"`
	Memory    *int64    `json:"memory,omitempty"`
	CPU       *int64    `json:"cpu,omitempty"`
	Disk      *int64    `json:"disk,omitempty"`
	Port      *int      `json:"port,omitempty"`
	Startup   *Duration `json:"startup,omitempty"`
	StopGrace *Duration `json:"stop_grace,omitempty"`
	Protocol  *Protocol `json:"protocol,omitempty"`
	Init      *bool     `json:"init,omitempty"` // false has its program be process 1 itself
	Liveness  *Check    `json:"liveness,omitempty"`
	Readiness *Check    `json:"readiness,omitempty"`
}

// RouteSpec is a host and path to map the app to.
type RouteSpec struct {
	Host   Host    `json:"host"`
	Path   string  `json:"path"`
	Public bool    `json:"public,omitempty"`
	Sticky *Sticky `json:"sticky,omitempty"`
	// Limits are the route's. What it sets is set at each push, also of a route that is there already.
	Limits Limits `json:"limits,omitzero"`
}

// Defaults of what neither manifest nor parent says.
const (
	DefaultPort      = 8080
	DefaultMemory    = 1 << 30
	DefaultStartup   = Duration(60 * time.Second)
	DefaultStopGrace = Duration(10 * time.Second)
	DefaultInterval  = Duration(30 * time.Second)
	DefaultTimeout   = Duration(time.Second)
)

// Limits of what may be asked for.
const (
	MaxInstances = 1000
	MinMemory    = 6 << 20 // runc itself has to fit in
	MinDisk      = 1 << 20
	MaxEnvBytes  = 128 << 10
)

// Built is the image that a release is to run, as far as a release depends on it.
type Built struct {
	Image Image
	Ports []int // exposed over TCP, the one to use first
}

// Resolve makes a spec and a formation of the draft: what is said beats the parent's (which may be nil),
// and that beats the defaults. Removing a key of the environment does not unset it.
func (d PushSpec) Resolve(b Built, parent *Release) (Spec, Formation, error) {
	spec := Spec{Image: b.Image, Processes: map[ProcessName]Process{}, Env: map[string]string{}, Strategy: Strategy{Kind: Rolling}, Overlap: true}
	formation := Formation{}
	maps.Copy(spec.Env, d.EnvDefaults)
	if parent != nil {
		maps.Copy(spec.Env, parent.Spec.Env)
		spec.Bindings = parent.Spec.Bindings
		spec.Volumes, spec.Strategy, spec.Overlap, spec.Place = parent.Spec.Volumes, parent.Spec.Strategy, parent.Spec.Overlap, parent.Spec.Place
		spec.Guards = parent.Spec.Guards
		maps.Copy(formation, parent.Formation)
	}
	maps.Copy(spec.Env, d.Env)
	for _, name := range d.EnvRequired {
		if _, ok := spec.Env[name]; !ok {
			return spec, nil, Errorf(Invalid, "environment variable %s is required and has no value", name).WithCommand("micro push --env %s=VALUE", name)
		}
	}
	spec.Labels, spec.Annotations, spec.Routes, spec.NoRoute = d.Labels, d.Annotations, d.Routes, d.NoRoute
	spec.Cron = d.Cron
	if d.Volumes != nil {
		if len(d.Volumes) == 0 && len(spec.Volumes) > 0 {
			spec.Strategy = Strategy{Kind: Rolling} // the parent's followed from its volumes
		}
		spec.Volumes = append([]Volume(nil), d.Volumes...)
	}
	if d.Place != nil {
		if spec.Place = d.Place; len(d.Place) == 0 {
			spec.Place = nil
		}
	}
	if d.Guards != nil {
		spec.Guards = append([]MetricGuard(nil), d.Guards...)
	}
	if d.Overlap != nil {
		spec.Overlap = *d.Overlap
	}
	if len(spec.Volumes) > 0 {
		// One writer: two releases must not hold a volume at the same time.
		spec.Strategy = Strategy{Kind: Recreate}
	}
	if d.Strategy != nil {
		if len(spec.Volumes) > 0 && d.Strategy.Kind != Recreate {
			return spec, nil, Errorf(Invalid, "strategy %s would run two releases on volume %q at once", d.Strategy.Kind, spec.Volumes[0].Name).WithHint("use --strategy recreate")
		}
		spec.Strategy = *d.Strategy
	}
	said := maps.Clone(d.Processes)
	if said == nil {
		said = map[ProcessName]ProcessSpec{}
	}
	_, web := said[Web]
	switch {
	case d.NoWeb && (web || len(d.Routes) > 0):
		return spec, nil, Errorf(Invalid, "routes need the process web, which the app does not have")
	case d.NoWeb && len(said) == 0:
		return spec, nil, Errorf(Invalid, "the app has no process")
	case !d.NoWeb && !web:
		said[Web] = ProcessSpec{}
	}
	for name, p := range said {
		spec.Processes[name] = p.resolve(name, b, spec.Env)
		formation[name] = p.scale(name, formation, d.NoWeb)
	}
	for name := range formation {
		if _, ok := spec.Processes[name]; !ok {
			delete(formation, name) // the parent's, of a process that is no more
		}
	}
	return spec, formation, errorsOf(spec, formation)
}

func (p ProcessSpec) resolve(name ProcessName, b Built, env map[string]string) Process {
	out := Process{
		Command:   or(p.Command, ""),
		Startup:   or(p.Startup, DefaultStartup),
		StopGrace: or(p.StopGrace, DefaultStopGrace),
		NoInit:    !or(p.Init, true),
		Liveness:  Check{Type: CheckProcess},
		Readiness: Check{Type: CheckProcess},
	}
	if name == Web {
		port := DefaultPort
		if len(b.Ports) > 0 {
			port = b.Ports[0]
		}
		if n, err := parsePort(env["PORT"]); err == nil {
			port = n
		}
		out.Port = or(p.Port, port)
		if out.Protocol = or(p.Protocol, ""); out.Protocol == ProtocolHTTP1 {
			out.Protocol = ""
		}
		out.Liveness = Check{Type: CheckPort}
	}
	out.Liveness = or(p.Liveness, out.Liveness).withDefaults()
	out.Readiness = or(p.Readiness, out.Readiness).withDefaults()
	return out
}

func (p ProcessSpec) scale(name ProcessName, parent Formation, noWeb bool) Scale {
	s, ok := parent[name]
	if !ok {
		s = Scale{Memory: DefaultMemory}
		if name == Web || name == ReleaseCommand || noWeb {
			s.Instances = 1
		}
	}
	s.Instances = or(p.Instances, s.Instances)
	s.Memory = or(p.Memory, s.Memory)
	s.CPU = or(p.CPU, s.CPU)
	s.Disk = or(p.Disk, s.Disk)
	return s
}

func (c Check) withDefaults() Check {
	if c.Type == CheckHTTP && c.Path == "" {
		c.Path = "/"
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}

func or[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}
