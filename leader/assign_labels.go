package leader

import (
	"maps"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// admits reports whether a node has the labels that the release asks for.
func (d *draft) admits(m *machine) bool { return m.Node.HasLabels(d.rel.Spec.Place) }

// someAdmit reports whether a node that takes instances has the labels.
func (d *draft) someAdmit() bool { return slices.ContainsFunc(d.usable(), d.admits) }

// misplaced reports whether an instance must move because its node no longer has the labels. It stays as long as no node
// with them has room, and where its volumes are.
func (p *process) misplaced(place cloud.Place) bool {
	m := p.machine(place.Node)
	return m != nil && !p.admits(m) && len(p.rel.Spec.Volumes) == 0 &&
		slices.ContainsFunc(p.usable(), func(m *machine) bool { return p.admits(m) && m.hasRoom(p.scale) })
}

// labels shows the labels that the release asks for, for a person.
func (d *draft) labels() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(d.rel.Spec.Place)) {
		list = append(list, name+"="+d.rel.Spec.Place[name])
	}
	return strings.Join(list, " ")
}
