package manifest

import (
	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// jsonHealth is a health check of app.json. One of type startup or liveness is the process's health check,
// which an instance must pass to come up and to stay.
type jsonHealth struct {
	health

	at       *yaml.Node
	kind     string
	listens  bool
	attempts int
}

// ownAttempts is how many failures in a row micro acts on.
const ownAttempts = 3

// healthchecks reads the checks of each process. What the manifest says of the process beats them.
func (v value) healthchecks(a *appJSON) {
	for k, list := range v.pairs() {
		name := cloud.ProcessName(k.Value)
		if err := name.Validate(); err != nil {
			v.reader.badErr(k, err)
			continue
		}
		p := process{name: name, draft: a.Processes[name]}
		var live, ready *cloud.Check
		for item := range list.items() {
			h := jsonHealth{at: item.node, attempts: ownAttempts}
			fill(item, &h)
			check := h.read(v.reader, &p)
			switch {
			case check == nil:
			case h.kind == "readiness" && ready == nil:
				ready = check
			case h.kind == "readiness":
				v.reader.bad(item.node, "process %s has a readiness check already", name)
			case live == nil || *live == *check:
				live = check
			default:
				v.reader.refuse(item.node, "another check for the start than for later")
			}
		}
		if p.draft.Liveness == nil {
			p.draft.Liveness = live
		}
		if p.draft.Readiness == nil {
			p.draft.Readiness = ready
		}
		a.Processes[name] = p.draft
	}
}

// read makes a check of what was said; nil where that is wrong.
func (h *jsonHealth) read(r *reader, p *process) *cloud.Check {
	switch {
	case h.kind == "":
		r.bad(h.at, "a health check needs a type: startup, liveness or readiness")
		return nil
	case h.listens && h.endpoint != nil:
		r.bad(h.at, "a health check has either a path or listening, not both")
		return nil
	case h.attempts != ownAttempts:
		r.refuse(h.at, "%d attempts instead of %d", h.attempts, ownAttempts)
		return nil
	}
	kind := cloud.CheckHTTP
	if h.listens {
		kind = cloud.CheckPort
	}
	h.health.at, h.health.kind = h.at, &kind
	return h.check(r, p, kind)
}

func (v value) healthType(h *jsonHealth) {
	h.kind, _ = v.oneOf("startup", "liveness", "readiness")
}

func (v value) listening(h *jsonHealth) { h.listens, _ = v.flag() }

func (v value) healthAttempts(h *jsonHealth) {
	if n, ok := v.number(1, 1000); ok {
		h.attempts = n
	}
}
