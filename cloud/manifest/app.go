package manifest

import (
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// app is one app of a manifest.
type app struct {
	at    *yaml.Node
	asked log // what counts only if this is the app that is wanted

	named    bool
	name     cloud.AppName
	pathAt   *yaml.Node
	path     string
	envs     map[string]string
	services []cloud.Binding
	docker   docker
	metadata metadata
	own      own
	web      process
	others   map[cloud.ProcessName]*process
	listed   []*process // of processes
	// webListed says that web is one of them.
	webListed bool
	routing   routing
}

func newApp(at *yaml.Node) *app { return &app{at: at} }

func (v value) appName(a *app) {
	a.named = true
	s, ok := v.word()
	if !ok {
		return
	}
	if err := cloud.AppName(s).Validate(); err != nil {
		v.badErr(err)
		return
	}
	a.name = cloud.AppName(s)
}

func (v value) path(a *app) {
	if s, ok := v.word(); ok {
		a.path, a.pathAt = s, v.node
	}
}

func (v value) env(a *app) {
	a.envs = map[string]string{}
	for k, item := range v.pairs() {
		if err := cloud.CheckEnvName(k.Value); err != nil {
			v.reader.badErr(k, err)
			continue
		}
		if s, ok := item.setting(); ok {
			a.envs[k.Value] = s
		}
	}
}

func (v value) lifecycle(*app) {
	if s, ok := v.oneOf("docker", "buildpack", "cnb"); ok && s != "docker" {
		v.refuse("lifecycle %s", s)
	}
}

type docker struct {
	image string
	at    *yaml.Node
}

func (v value) image(d *docker) {
	s, ok := v.word()
	if !ok {
		return
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }) || strings.Contains(s, "://") {
		v.bad("image %q is not an image reference: write it like registry.example.com/shop:1.2", abbreviate(s))
		return
	}
	d.image, d.at = s, v.node
}

type metadata struct{ labels, annotations map[string]string }

func (v value) processes(a *app) {
	for item := range v.items() {
		p := &process{at: item.node}
		fill(item, p)
		a.listed = append(a.listed, p)
	}
}

// finish checks what the keys of the app mean together.
func (a *app) finish(r *reader) {
	a.web.name, a.web.at = cloud.Web, a.at
	a.web.own.override(&a.own.web)
	a.others = map[cloud.ProcessName]*process{}
	for _, p := range a.listed {
		switch {
		case !p.named:
			r.bad(p.at, "a process has no type")
		case p.name == "": // and its type is wrong
		case a.others[p.name] != nil:
			r.bad(p.at, "process %s is given twice", p.name)
		default:
			a.others[p.name] = p
		}
	}
	if p, ok := a.others[cloud.Web]; ok {
		a.web.override(p)
		a.webListed = true
		delete(a.others, cloud.Web)
	}
	a.web.finish(r)
	for _, name := range slices.Sorted(maps.Keys(a.others)) {
		a.others[name].finish(r)
	}
	a.routing.finish(r)
	a.web.draft.Protocol = a.routing.protocol
	a.own.finish(r)
	if a.docker.image != "" && a.pathAt != nil {
		r.bad(a.pathAt, "path and docker.image exclude each other: nothing is built of an image")
	}
	if a.docker.image != "" && a.own.buildAt != nil {
		r.bad(a.own.buildAt, "build and docker.image exclude each other: nothing is built of an image")
	}
}

func (a *app) draft() cloud.PushSpec {
	d := cloud.PushSpec{
		Env:         a.envs,
		Services:    a.bindings(),
		Routes:      a.routing.drafts,
		NoRoute:     a.routing.none,
		Labels:      a.metadata.labels,
		Annotations: a.metadata.annotations,
		Volumes:     a.own.drafts,
		Strategy:    a.own.takeOver.draft(),
		Overlap:     a.own.side,
		Place:       a.own.place,
		Guards:      a.own.metrics,
		Processes:   map[cloud.ProcessName]cloud.ProcessSpec{},
	}
	for name, p := range a.others {
		d.Processes[name] = p.draft
	}
	if a.web.draft != (cloud.ProcessSpec{}) {
		d.Processes[cloud.Web] = a.web.draft
	}
	return d
}

// inside says whether a path stays in the folder that it is relative to.
func inside(p string) bool {
	return p != "" && !path.IsAbs(p) && path.Clean(p) != ".." && !strings.HasPrefix(path.Clean(p), "../") && !strings.Contains(p, `\`)
}
