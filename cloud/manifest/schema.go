package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// key is a key of a mapping, and how its value is read into a T. Values are checked whatever the state.
type key[T any] struct {
	name  string
	state state
	read  func(value, *T)
	// none are values with which a key that is not supported asks for nothing.
	none []string
	// instead names the key to write, of an old one.
	instead string
}

// state says what becomes of a key.
type state int

const (
	supported state = iota
	notYet          // refused by name
)

// schema is implemented by what a mapping is read into.
type schema[T any] interface {
	*T
	// keys are all that the mapping may have; what says what it is, for errors.
	keys() (all []key[T], what string)
}

// The tables. To support something, drop its notYet and use what read leaves in the T.

func (*document) keys() ([]key[document], string) {
	return []key[document]{
		{name: "version", read: value.version},
		{name: "applications", read: value.applications},
	}, "a manifest"
}

func (*app) keys() ([]key[app], string) {
	return append(append([]key[app]{
		{name: "name", read: value.appName},
		{name: "path", read: value.path},
		{name: "env", read: adding("micro env APP NAME- unsets a variable", value.env)},
		{name: "services", read: adding("micro unbind APP SERVICE unbinds a service", value.services)},
		{name: "docker", read: nested(func(a *app) *docker { return &a.docker })},
		{name: "lifecycle", read: value.lifecycle},
		{name: "metadata", read: nested(func(a *app) *metadata { return &a.metadata })},
		{name: "processes", read: value.processes},
		{name: "x-micro", read: nested(func(a *app) *own { return &a.own })},

		{name: "stack", state: notYet, read: check[app](value.word)},
		{name: "buildpacks", state: notYet, read: words[app]},
		{name: "random-route", state: notYet, read: check[app](value.flag)},
		{name: "sidecars", state: notYet, read: list(func(*app, *yaml.Node) *sidecar { return new(sidecar) })},
		{name: "features", state: notYet, read: flags[app]},

		{name: "buildpack", instead: "buildpacks", state: notYet, none: []string{"null", "default"}, read: check[app](value.word)},
		{name: "mem", instead: "memory", read: of(func(a *app) *process { return &a.web }, value.memory)},
		{name: "depends-on", instead: "nothing (push those apps first)", read: words[app]},
		{name: "inherit", instead: "YAML anchors or --vars-file", state: notYet, read: check[app](value.word)},
	}, lift(processKeys, func(a *app) *process { return &a.web })...),
		lift(routingKeys, func(a *app) *routing { return &a.routing })...), "an app"
}

// routingKeys are an app's, too.
var routingKeys = []key[routing]{
	{name: "routes", read: adding("no-route: true takes the app out of its routes", list(func(g *routing, at *yaml.Node) *route {
		g.routes = append(g.routes, &route{at: at})
		return last(g.routes)
	}))},
	{name: "no-route", read: value.noRoute},
	{name: "default-route", read: value.defaultRoute},
	{name: "host", instead: "routes", read: value.hosts},
	{name: "hosts", instead: "routes", read: value.hosts},
	{name: "domain", instead: "routes", read: value.domains},
	{name: "domains", instead: "routes", read: value.domains},
	{name: "no-hostname", instead: "routes", read: value.noHostname},
	{name: "url", instead: "routes", read: value.urls},
	{name: "urls", instead: "routes", read: value.urls},
}

func (*process) keys() ([]key[process], string) {
	return append([]key[process]{
		{name: "type", read: value.processType},
		{name: "x-micro", read: nested(func(p *process) *ownProcess { return &p.own })},
	}, processKeys...), "a process"
}

// processKeys stand in an app, where they speak of its web process, and in its other processes.
var processKeys = append(append([]key[process]{
	{name: "command", read: value.command},
	{name: "instances", read: value.instances},
	{name: "memory", read: value.memory},
	{name: "disk_quota", read: value.disk},
	{name: "log-rate-limit-per-second", state: notYet, none: []string{"-1"}, read: value.logRate},
	{name: "timeout", read: value.timeout},
}, lift(healthKeys(""), func(p *process) *health { return &p.live })...),
	lift(healthKeys("readiness-"), func(p *process) *health { return &p.ready })...)

func healthKeys(prefix string) []key[health] {
	return []key[health]{
		{name: prefix + "health-check-type", read: value.checkType},
		{name: prefix + "health-check-http-endpoint", read: value.checkPath},
		{name: prefix + "health-check-invocation-timeout", read: value.checkTimeout},
		{name: prefix + "health-check-interval", read: value.checkInterval},
	}
}

// own is what an app has under x-micro.
func (*own) keys() ([]key[own], string) {
	return append([]key[own]{
		{name: "volumes", read: stated(func(o *own) *[]cloud.Volume { return &o.drafts }, list(func(o *own, at *yaml.Node) *volume {
			o.volumes = append(o.volumes, &volume{at: at})
			return last(o.volumes)
		}))},
		{name: "overlap", read: value.overlap},
		{name: "strategy", read: value.strategy},
		{name: "place", read: value.place},
		{name: "build", read: value.build},
		{name: "guards", read: stated(func(o *own) *[]cloud.MetricGuard { return &o.metrics }, list(func(o *own, at *yaml.Node) *guard {
			o.guards = append(o.guards, &guard{at: at})
			return last(o.guards)
		}))},
		{name: "services", read: value.newServices},
	}, lift(ownProcessKeys, func(o *own) *ownProcess { return &o.web })...), "x-micro"
}

func (*ownProcess) keys() ([]key[ownProcess], string) { return ownProcessKeys, "a process's x-micro" }

var ownProcessKeys = []key[ownProcess]{
	{name: "port", read: value.port},
	{name: "cpu", read: value.cpu},
	{name: "stop-grace", read: value.stopGrace},
	{name: "init", read: value.processInit},
}

func (*strategy) keys() ([]key[strategy], string) {
	return []key[strategy]{
		{name: "kind", read: value.strategyKind},
		{name: "batch", read: value.strategyBatch},
		{name: "surge", read: value.strategySurge},
	}, "a strategy"
}

func (*volume) keys() ([]key[volume], string) {
	return []key[volume]{
		{name: "name", read: value.volumeName},
		{name: "path", read: value.volumePath},
		{name: "shared", read: value.volumeShared},
	}, "a volume"
}

func (*guard) keys() ([]key[guard], string) {
	return []key[guard]{
		{name: "metric", read: value.guardMetric},
		{name: "less", read: value.guardLess},
		{name: "more", read: value.guardMore},
		{name: "path", read: value.guardPath},
		{name: "port", read: value.guardPort},
	}, "a guard"
}

func (*build) keys() ([]key[build], string) {
	return []key[build]{
		{name: "dockerfile", read: value.dockerfile},
		{name: "target", read: value.buildTarget},
		{name: "args", read: value.buildArgs},
	}, "build"
}

func (*docker) keys() ([]key[docker], string) {
	return []key[docker]{
		{name: "image", read: value.image},
		{name: "username", state: notYet, read: check[docker](value.word)},
	}, "docker"
}

func (*metadata) keys() ([]key[metadata], string) {
	return []key[metadata]{
		{name: "labels", read: func(v value, m *metadata) { m.labels = v.texts() }},
		{name: "annotations", read: func(v value, m *metadata) { m.annotations = v.texts() }},
	}, "metadata"
}

func (*route) keys() ([]key[route], string) {
	return []key[route]{
		{name: "route", read: value.address},
		{name: "protocol", read: value.protocol},
		{name: "options", state: notYet, read: nested(func(rt *route) *routeOptions { return &rt.options })},
		{name: "x-micro", read: nested(func(rt *route) *ownRoute { return &rt.own })},
	}, "a route"
}

func (*routeOptions) keys() ([]key[routeOptions], string) {
	return []key[routeOptions]{
		{name: "loadbalancing", read: value.loadBalancing},
		{name: "hash_header", read: check[routeOptions](value.word)},
		{name: "hash_balance", read: value.hashBalance},
	}, "a route's options"
}

func (*ownRoute) keys() ([]key[ownRoute], string) {
	keys := []key[ownRoute]{
		{name: "public", read: value.public},
		{name: "sticky", read: value.sticky},
	}
	for _, k := range cloud.LimitKinds {
		if !k.Connection {
			keys = append(keys, key[ownRoute]{name: k.Name, read: limit(k)})
		}
	}
	return keys, "a route's x-micro"
}

type (
	sidecar struct{}
)

func (*service) keys() ([]key[service], string) {
	return []key[service]{
		{name: "name", read: value.serviceName},
		{name: "parameters", read: func(v value, s *service) { s.Parameters = string(v.object()) }},
		{name: "binding_name", read: func(v value, s *service) { s.Name, _ = v.word() }},
	}, "a service"
}

func (*newService) keys() ([]key[newService], string) {
	return []key[newService]{
		{name: "kind", read: func(v value, s *newService) { s.Kind, _ = v.word() }},
		{name: "version", read: func(v value, s *newService) { s.Version, _ = v.setting() }},
		{name: "plan", read: func(v value, s *newService) { s.plan = &v }},
		{name: "broker", read: func(v value, s *newService) { s.Broker, _ = v.word() }},
		{name: "parameters", read: func(v value, s *newService) { s.Parameters = v.object() }},
		{name: "production", read: func(v value, s *newService) { s.Production, _ = v.flag() }},
	}, "a service to create"
}

func (*sidecar) keys() ([]key[sidecar], string) {
	return []key[sidecar]{
		{name: "name", read: check[sidecar](value.word)},
		{name: "command", read: check[sidecar](value.word)},
		{name: "process_types", read: words[sidecar]},
		{name: "memory", read: anySize[sidecar]},
	}, "a sidecar"
}

// app.json, as Heroku has it. The metadata asks for nothing, and environments speak of other deploys.
func (*appJSON) keys() ([]key[appJSON], string) {
	keys := []key[appJSON]{
		{name: "env", read: value.jsonEnv},
		{name: "formation", read: value.formation},
		{name: "stack", read: value.jsonStack},
		{name: "scripts", state: notYet, read: anything[appJSON]},
		{name: "cron", read: list(func(a *appJSON, at *yaml.Node) *jsonJob {
			a.jobs = append(a.jobs, &jsonJob{at: at})
			return last(a.jobs)
		})},
		{name: "healthchecks", read: value.healthchecks},
		{name: "addons", state: notYet, read: anything[appJSON]},
		{name: "buildpacks", state: notYet, read: anything[appJSON]},
		{name: "image", state: notYet, read: anything[appJSON]},
	}
	for name := range strings.FieldsSeq("$schema name description keywords website repository logo success_url environments") {
		keys = append(keys, key[appJSON]{name: name, read: anything[appJSON]})
	}
	return keys, "app.json"
}

func (*jsonVar) keys() ([]key[jsonVar], string) {
	return []key[jsonVar]{
		{name: "value", read: value.jsonValue},
		{name: "required", read: value.jsonRequired},
		{name: "description", read: anything[jsonVar]},
		{name: "generator", read: value.generator},
	}, "a variable"
}

func (*jsonJob) keys() ([]key[jsonJob], string) {
	return []key[jsonJob]{
		{name: "command", read: func(v value, j *jsonJob) { j.Command, _ = v.text() }},
		{name: "schedule", read: value.schedule},
	}, "a cron entry"
}

// Dokku's; Heroku's are made of the same.
func (*jsonHealth) keys() ([]key[jsonHealth], string) {
	part := func(h *jsonHealth) *health { return &h.health }
	return []key[jsonHealth]{
		{name: "type", read: value.healthType},
		{name: "name", read: anything[jsonHealth]},
		{name: "description", read: anything[jsonHealth]},
		{name: "path", read: of(part, value.checkPath)},
		{name: "listening", read: value.listening},
		{name: "timeout", read: of(part, value.checkTimeout)},
		{name: "wait", read: of(part, value.checkInterval)},
		{name: "attempts", read: value.healthAttempts},
		{name: "initialDelay", state: notYet, read: anything[jsonHealth]},
		{name: "port", state: notYet, read: anything[jsonHealth]},
		{name: "command", state: notYet, read: anything[jsonHealth]},
		{name: "content", state: notYet, read: anything[jsonHealth]},
		{name: "httpHeaders", state: notYet, read: anything[jsonHealth]},
		{name: "scheme", state: notYet, read: anything[jsonHealth]},
		{name: "uptime", state: notYet, read: anything[jsonHealth]},
		{name: "warn", state: notYet, read: anything[jsonHealth]},
		{name: "onFailure", state: notYet, read: anything[jsonHealth]},
	}, "a health check"
}

func (*jsonFormation) keys() ([]key[jsonFormation], string) {
	return []key[jsonFormation]{
		{name: "quantity", read: value.quantity},
		{name: "size", state: notYet, read: check[jsonFormation](value.word)},
	}, "a formation"
}
