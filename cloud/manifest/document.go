package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// document is a whole manifest.
type document struct {
	domain cloud.Domain
	apps   []*app
	at     *yaml.Node // the list of apps
}

func (v value) version(*document) {
	if s, ok := v.text(); ok && s != "1" {
		v.bad("version %q is not known, only 1 is", abbreviate(s))
	}
}

func (v value) applications(d *document) {
	d.at = v.node
	for item := range v.items() {
		d.apps = append(d.apps, d.app(item.reader, item.node))
	}
}

func (d *document) app(r *reader, n *yaml.Node) *app {
	a := newApp(n)
	r = r.withAsked(&a.asked)
	a.routing.domain = d.domain
	fill(value{r, n, "an app"}, a)
	a.finish(r)
	return a
}

// only reads a document that has no list of apps: an app's keys at the top, as Stackato had them.
func (d *document) only(r *reader, root *yaml.Node) *app {
	bare := *root
	bare.Content = nil
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch k, v := root.Content[i], root.Content[i+1]; {
		case k.Value == "version":
			value{r, v, k.Value}.version(d)
		case k.Value != "x-micro" && strings.HasPrefix(k.Value, "x-"):
		default:
			bare.Content = append(bare.Content, k, v)
		}
	}
	if len(bare.Content) > 0 {
		r.warn(bare.Content[0], "the app's keys stand at the top: write them under applications, in a list")
	}
	a := d.app(r, &bare)
	r.keep(a.asked)
	return a
}

// outside takes out of the root what stands beside the apps to be pointed at by their aliases, as it is
// the custom: keys with an anchor somewhere, and keys that begin with x-.
func (d *document) outside(r *reader, root *yaml.Node) {
	keys, _ := (*app)(nil).keys()
	var kept []*yaml.Node
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch k, v := root.Content[i], root.Content[i+1]; {
		case k.Value == "version" || k.Value == "applications":
			kept = append(kept, k, v)
		case anchored(v) || k.Value != "x-micro" && strings.HasPrefix(k.Value, "x-"):
		case slices.ContainsFunc(keys, func(d key[app]) bool { return d.name == k.Value }):
			r.bad(k, "%s stands outside of applications: move it into the app", k.Value)
		default:
			kept = append(kept, k, v)
		}
	}
	root.Content = kept
}

func anchored(n *yaml.Node) bool { return n.Anchor != "" || slices.ContainsFunc(n.Content, anchored) }

// pick returns the app of the name. Problems with keys that are not supported yet count for that app
// alone: they are no reason not to push its neighbour.
func (d *document) pick(r *reader, name cloud.AppName) *app {
	if len(d.apps) == 1 {
		r.keep(d.apps[0].asked)
		return d.apps[0]
	}
	var names []string
	var picked *app
	for _, a := range d.apps {
		switch {
		case a.name == "" && !a.named:
			r.bad(a.at, "an app has no name, and there are several")
			continue
		case a.name == "": // and it is wrong
			continue
		case slices.Contains(names, string(a.name)):
			r.bad(a.at, "app %s is given twice", a.name)
		}
		names = append(names, string(a.name))
		if a.name == name {
			picked = a
		}
	}
	switch {
	case picked != nil:
		r.keep(picked.asked)
		return picked
	case len(names) > 0 && name == "":
		r.bad(d.at, "there are %d apps, and one is pushed at a time: choose with --app %s", len(names), strings.Join(names, " or --app "))
	case len(names) > 0:
		r.bad(d.at, "there is no app %s, only %s", name, strings.Join(names, ", "))
	}
	return newApp(d.at)
}
