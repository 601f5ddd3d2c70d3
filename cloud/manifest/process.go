package manifest

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// process is one of an app's, or what the app says of its web process.
type process struct {
	at    *yaml.Node
	named bool
	name  cloud.ProcessName
	draft cloud.ProcessSpec
	live  health
	ready health
	own   ownProcess
}

func (v value) processType(p *process) {
	p.named = true
	s, ok := v.word()
	if !ok {
		return
	}
	if err := cloud.ProcessName(s).Validate(); err != nil {
		v.badErr(err)
		return
	}
	p.name = cloud.ProcessName(s)
}

func (v value) command(p *process) {
	// "null" resets to the image's own in Cloud Foundry, and so does null here.
	if v.isNull() {
		p.draft.Command = new(string)
		return
	}
	if s, ok := v.word(); ok {
		p.draft.Command = &s
	}
}

func (v value) instances(p *process) {
	if n, ok := v.number(0, cloud.MaxInstances); ok {
		p.draft.Instances = &n
	}
}

func (v value) memory(p *process) {
	if n, ok := v.size(cloud.MinMemory); ok {
		p.draft.Memory = &n
	}
}

func (v value) disk(p *process) {
	if n, ok := v.size(cloud.MinDisk); ok {
		p.draft.Disk = &n
	}
}

func (v value) timeout(p *process) {
	if d, ok := v.seconds(); ok {
		p.draft.Startup = &d
	}
}

func (v value) logRate(*process) {
	if s, ok := v.text(); ok && s != "-1" && s != "0" {
		v.size(0)
	}
}

// ownProcess is what a process has under x-micro.
type ownProcess struct {
	listen *int
	cores  *int64
	grace  *cloud.Duration
	init   *bool
}

func (v value) port(o *ownProcess) {
	if n, ok := v.number(1, 65535); ok {
		o.listen = &n
	}
}

// cpu reads cores, "0.5", or thousandths of one as Kubernetes writes them, "500m".
func (v value) cpu(o *ownProcess) {
	s, ok := v.text()
	if !ok {
		return
	}
	t, scale := s, 1000.0
	if m, ok := strings.CutSuffix(s, "m"); ok {
		t, scale = m, 1
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || math.IsNaN(f) || f*scale < 10 || f*scale > 1e6 {
		v.bad("cpu %q is not a number of cores from 0.01 to 1000: write it like 0.5", abbreviate(s))
		return
	}
	n := int64(math.Round(f * scale))
	o.cores = &n
}

func (v value) stopGrace(o *ownProcess) {
	if d, ok := v.span(); ok {
		o.grace = &d
	}
}

func (v value) processInit(o *ownProcess) {
	if b, ok := v.flag(); ok {
		o.init = &b
	}
}

func (o *ownProcess) override(b *ownProcess) {
	set(&o.listen, b.listen)
	set(&o.cores, b.cores)
	set(&o.grace, b.grace)
	set(&o.init, b.init)
}

// override replaces p's values by those that b has.
func (p *process) override(b *process) {
	set(&p.draft.Command, b.draft.Command)
	set(&p.draft.Instances, b.draft.Instances)
	set(&p.draft.Memory, b.draft.Memory)
	set(&p.draft.Disk, b.draft.Disk)
	set(&p.draft.Startup, b.draft.Startup)
	p.live.override(&b.live)
	p.ready.override(&b.ready)
	p.own.override(&b.own)
}

func set[T any](p **T, b *T) {
	if b != nil {
		*p = b
	}
}

// finish completes the draft, and checks what the keys mean together.
func (p *process) finish(r *reader) {
	p.draft.Port, p.draft.CPU, p.draft.StopGrace, p.draft.Init = p.own.listen, p.own.cores, p.own.grace, p.own.init
	if p.name == "" {
		return
	}
	usual := cloud.CheckProcess
	if p.name == cloud.Web {
		usual = cloud.CheckPort
	}
	p.draft.Liveness = p.live.check(r, p, usual)
	p.draft.Readiness = p.ready.check(r, p, cloud.CheckProcess)
}

// health is what is said of a health check.
type health struct {
	at, pathAt        *yaml.Node // of the last key, and of the endpoint
	kind              *cloud.CheckType
	endpoint          *string
	interval, timeout *cloud.Duration
}

func (v value) checkType(h *health) {
	h.at = v.node
	s, ok := v.oneOf("port", "process", "http", "grpc", "none")
	if !ok {
		return
	}
	kind := cloud.CheckType(s)
	if s == "none" {
		v.warn(v.node, "%s none is an old value: write process", v.name)
		kind = cloud.CheckProcess
	}
	h.kind = &kind
}

func (v value) checkPath(h *health) {
	h.at, h.pathAt = v.node, v.node
	s, ok := v.word()
	if !ok {
		return
	}
	if !strings.HasPrefix(s, "/") || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' }) {
		v.bad("%s %q is not a path: write it like /healthz", v.name, abbreviate(s))
		return
	}
	h.endpoint = &s
}

func (v value) checkTimeout(h *health) {
	h.at = v.node
	if d, ok := v.seconds(); ok {
		h.timeout = &d
	}
}

func (v value) checkInterval(h *health) {
	h.at = v.node
	if d, ok := v.seconds(); ok {
		h.interval = &d
	}
}

func (h *health) override(b *health) {
	if b.kind != nil && b.endpoint == nil && *b.kind != cloud.CheckHTTP {
		h.endpoint = nil
	}
	set(&h.at, b.at)
	set(&h.pathAt, b.pathAt)
	set(&h.kind, b.kind)
	set(&h.endpoint, b.endpoint)
	set(&h.interval, b.interval)
	set(&h.timeout, b.timeout)
}

// check is the check of process p, nil where nothing is said of it. An endpoint alone means http.
func (h *health) check(r *reader, p *process, usual cloud.CheckType) *cloud.Check {
	if h.kind == nil && h.endpoint == nil && h.interval == nil && h.timeout == nil {
		return nil
	}
	c := cloud.Check{Type: usual}
	switch {
	case h.kind != nil:
		c.Type = *h.kind
	case h.endpoint != nil:
		c.Type = cloud.CheckHTTP
	}
	if h.endpoint != nil {
		c.Path = *h.endpoint
		if c.Type != cloud.CheckHTTP {
			r.bad(h.pathAt, "an endpoint is for a check of type http, and this one is of type %s", c.Type)
		}
	}
	if c.Type != cloud.CheckProcess && p.name != cloud.Web && p.draft.Port == nil {
		r.bad(h.at, "a check of type %s needs to know where process %s listens: set port under its x-micro", c.Type, p.name)
	}
	if h.interval != nil {
		c.Interval = *h.interval
	}
	if h.timeout != nil {
		c.Timeout = *h.timeout
	}
	return &c
}
