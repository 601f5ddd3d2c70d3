package manifest

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// own is what an app has under x-micro.
type own struct {
	volumes  []*volume
	side     *bool
	takeOver strategy
	place    map[string]string
	guards   []*guard
	services []*newService
	image    build
	buildAt  *yaml.Node
	web      ownProcess

	drafts  []cloud.Volume
	metrics []cloud.MetricGuard
}

func (v value) overlap(o *own) {
	if b, ok := v.flag(); ok {
		o.side = &b
	}
}

// place is empty for no labels, and nil for those of the release before.
func (v value) place(o *own) {
	if !v.isNull() {
		o.place = v.texts()
	}
}

type strategy struct {
	at    *yaml.Node
	kind  cloud.StrategyKind
	batch int
	surge *int
}

// strategy is a kind alone, or a mapping with a batch and a surge.
func (v value) strategy(o *own) {
	o.takeOver.at = v.node
	if v.node.Kind == yaml.ScalarNode {
		v.strategyKind(&o.takeOver)
		return
	}
	fill(v, &o.takeOver)
}

func (v value) strategyKind(s *strategy) {
	if k, ok := v.oneOf(string(cloud.Rolling), string(cloud.Cutover), string(cloud.Recreate)); ok {
		s.kind = cloud.StrategyKind(k)
	}
}

func (v value) strategyBatch(s *strategy) {
	s.batch, _ = v.number(1, cloud.MaxInstances)
}

func (v value) strategySurge(s *strategy) {
	if n, ok := v.number(0, cloud.MaxInstances); ok {
		s.surge = &n
	}
}

func (s *strategy) draft() *cloud.Strategy {
	if s.at == nil {
		return nil
	}
	d := &cloud.Strategy{Kind: s.kind, Batch: s.batch, Surge: s.surge}
	if d.Kind == "" {
		d.Kind = cloud.Rolling
	}
	return d
}

type volume struct {
	at *yaml.Node
	cloud.Volume
}

func (v value) volumeName(vol *volume) { vol.Name, _ = v.word() }

func (v value) volumePath(vol *volume) { vol.Path, _ = v.word() }

type build struct{ Build }

func (v value) build(o *own) {
	o.buildAt = v.node
	fill(v, &o.image)
}

func (v value) dockerfile(b *build) {
	s, ok := v.word()
	if ok && !inside(s) {
		v.bad("dockerfile %q must lie in the folder that is pushed", abbreviate(s))
		return
	}
	b.Dockerfile = s
}

func (v value) buildTarget(b *build) { b.Target, _ = v.word() }

func (v value) buildArgs(b *build) { b.Args = v.texts() }

func (v value) volumeShared(vol *volume) { vol.Shared, _ = v.flag() }

// guard is a counter of the app that cross-fades compare.
type guard struct {
	at *yaml.Node
	cloud.MetricGuard
}

func (v value) guardMetric(g *guard) { g.Metric, _ = v.word() }
func (v value) guardPath(g *guard)   { g.Path, _ = v.word() }
func (v value) guardPort(g *guard)   { g.Port, _ = v.number(1, 65535) }
func (v value) guardLess(g *guard)   { g.Less, _ = v.part() }
func (v value) guardMore(g *guard)   { g.More, _ = v.part() }

// part reads "5%" or 0.05 as a part of one.
func (v value) part() (float64, bool) {
	s, ok := v.word()
	if !ok {
		return 0, false
	}
	digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if percent {
		x /= 100
	}
	if err != nil || !(x > 0 && x <= 10) { // NaN neither
		v.bad("%q is not a percentage: write it like 5%%", abbreviate(s))
		return 0, false
	}
	return x, true
}

// finish checks what the keys mean together.
func (o *own) finish(r *reader) {
	for _, g := range o.guards {
		if err := g.Validate(); err != nil {
			r.badErr(g.at, err)
			continue
		}
		if slices.ContainsFunc(o.metrics, func(m cloud.MetricGuard) bool { return m.Metric == g.Metric }) {
			r.bad(g.at, "guard %s is given twice", g.Metric)
		}
		o.metrics = append(o.metrics, g.MetricGuard)
	}
	names, paths := map[string]bool{}, map[string]bool{}
	for _, vol := range o.volumes {
		if vol.Name == "" || vol.Path == "" {
			r.bad(vol.at, "a volume needs a name and a path")
			continue
		}
		vol.Path = path.Clean(vol.Path)
		if err := vol.Validate(); err != nil {
			r.badErr(vol.at, err)
		}
		if names[vol.Name] || paths[vol.Path] {
			r.bad(vol.at, "volume %s at %s: the name or the path is given twice", vol.Name, vol.Path)
		}
		names[vol.Name], paths[vol.Path] = true, true
		o.drafts = append(o.drafts, vol.Volume)
	}
	if o.takeOver.surge != nil && o.takeOver.kind == cloud.Recreate {
		r.bad(o.takeOver.at, "strategy recreate has no surge: an instance ends before the next starts in its place")
	}
	if len(o.drafts) > 0 && o.takeOver.at != nil && o.takeOver.kind != cloud.Recreate {
		r.bad(o.takeOver.at, "an app with volumes needs strategy recreate: two releases must not write to one volume")
	}
}
