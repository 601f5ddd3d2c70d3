package handler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (h *Handler) serveTimeline() {
	get(h, operation("timeline", "GET /v1/groups/{group}/apps/{app}/timeline", "Show pushes, notes, locks, cross-fades and ways back of an app, the oldest first"),
		func(ctx context.Context, in *struct {
			AppInput
			Since time.Time `query:"since" doc:"Not before"`
		}) (api.List[api.TimelineEntry], error) {
			s := h.view(ctx).State
			app, err := s.MustApp(in.ref())
			if err != nil {
				return api.List[api.TimelineEntry]{}, err
			}
			t := newTimeline(s, app)
			for line, err := range h.Audit.Lines(ctx, 0, false) {
				if err != nil {
					return api.List[api.TimelineEntry]{}, err
				}
				t.addLine(line)
			}
			return whole(t.since(in.Since)), nil
		})
}

// timeline gathers what happened to an app. What the State has is taken from there: releases, what people said of
// them, and cross-fades with their verdicts. The audit log has the rest.
type timeline struct {
	app     *cloud.App
	hosts   map[string]bool // that lead to the app, or did in a cross-fade
	entries []api.TimelineEntry
}

func newTimeline(s *cloud.State, app *cloud.App) *timeline {
	t := &timeline{app: app, hosts: map[string]bool{}}
	for vhost := range s.HostsOf(app.AppRef) {
		t.hosts[string(vhost.Host)] = true
	}
	for rel := range s.Releases(app.AppRef) {
		t.addRelease(rel)
		for _, n := range s.Review(rel.ReleaseRef) {
			kind := "rejected"
			if n.Approved {
				kind = "approved"
			}
			t.entries = append(t.entries, api.TimelineEntry{Time: n.At, Kind: kind, Release: rel.N, By: n.By, Text: n.Text})
		}
		for _, record := range s.FadesOf(rel.ReleaseRef) {
			t.addFade(record)
		}
	}
	if l, ok := s.Lock(app.AppRef); ok {
		t.entries = append(t.entries, api.TimelineEntry{Time: l.At, Kind: "locked", By: l.By, Text: l.Text})
	}
	return t
}

func (t *timeline) addRelease(rel *cloud.Release) {
	e := api.TimelineEntry{Time: rel.Created, Kind: rel.Cause, Release: rel.N, By: rel.By, Text: rel.Spec.Image.Name}
	if rel.Parent != 0 && rel.Cause != "push" {
		e.Text = fmt.Sprintf("from r%d", rel.Parent)
	}
	t.entries = append(t.entries, e)
	if f := rel.Failure; f != nil {
		t.entries = append(t.entries, api.TimelineEntry{Time: f.At, Kind: "failed", Release: rel.N, By: "micro", Text: f.Reason})
	}
}

// addFade adds what people and the verdict did to a cross-fade. Its steps are in its record.
func (t *timeline) addFade(r cloud.FadeRecord) {
	t.hosts[string(r.Host)] = true
	for _, step := range r.Steps {
		e := api.TimelineEntry{Time: step.At, Kind: "crossfade-" + step.What, Release: r.To.N, Host: r.Host, Path: r.Path, By: step.By, Text: step.Why}
		if step.Figures != nil {
			e.Verdict = step.Figures.Verdict
		}
		switch step.What {
		case "step":
			continue
		case "started":
			e.Text = fmt.Sprintf("from %s", r.From)
		case "finished", "aborted":
			if r.Reason != "" {
				e.Text = r.Reason
			}
		case "paused", "resumed":
			e.Text = strings.TrimPrefix(fmt.Sprintf("%s, at %v %%", step.Why, step.Share), ", ")
		}
		t.entries = append(t.entries, e)
	}
}

// lineKinds are the verbs of the audit log that the State keeps no trace of, and what they are called here.
var lineKinds = map[string]string{
	"promote": "promote", "settled": "current", "rollback": "rollback", "stop": "stop", "start": "start", "delete": "delete",
	"lock": "locked", "unlock": "unlocked", "map": "map", "unmap": "unmap", "traffic": "traffic", "swap": "swap", "share": "share",
}

// addLine adds a line of the audit log, where it is about the app as it is now and not about an older one of the
// same name.
func (t *timeline) addLine(l api.AuditLine) {
	kind, ok := lineKinds[l.Verb]
	if !ok || l.Result != "done" || l.Time.Before(t.app.Created) {
		return
	}
	e := api.TimelineEntry{Time: l.Time, Kind: kind, By: l.By}
	object, text, _ := strings.Cut(l.Object, ": ")
	switch ref, err := cloud.ParseRef(object, cloud.DefaultGroup); {
	case err == nil && ref.AppRef == t.app.AppRef:
		e.Release, e.Text = ref.N, text
	case !t.addHost(&e, l.Object):
		return
	}
	// The State has the whole text of the present lock. The line's time is that of its transaction.
	if kind == "locked" && slices.ContainsFunc(t.entries, func(o api.TimelineEntry) bool {
		return o.Kind == kind && o.Time.Sub(e.Time).Abs() < time.Second
	}) {
		return
	}
	t.entries = append(t.entries, e)
}

// addHost reads what a line about routes is about: "HOST/PATH", or "HOST HOST" of a swap.
func (t *timeline) addHost(e *api.TimelineEntry, object string) bool {
	first, second, swapped := strings.Cut(object, " ")
	host, path, _ := strings.Cut(first, "/")
	switch {
	case swapped && (t.hosts[first] || t.hosts[second]):
		e.Host, e.Text = cloud.Host(first), "with "+second
		return true
	case swapped || !t.hosts[host]:
		return false
	}
	e.Host, e.Path = cloud.Host(host), "/"+path
	return true
}

// since returns the entries from a time on, in order.
func (t *timeline) since(begin time.Time) []api.TimelineEntry {
	kept := slices.DeleteFunc(t.entries, func(e api.TimelineEntry) bool { return e.Time.Before(begin) })
	slices.SortStableFunc(kept, func(a, b api.TimelineEntry) int { return a.Time.Compare(b.Time) })
	return kept
}
