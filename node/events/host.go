package events

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// compareHost returns events for the changes of a host; before or after is nil if the host is not mapped.
func compareHost(host cloud.Host, before, after *cloud.VirtualHost, at time.Time) (events []api.Event) {
	e := api.Event{Time: at, Object: string(host)}
	switch {
	case before == nil && after == nil, before == after:
		return nil
	case after == nil:
		e.Group, e.App, e.Kind, e.Text = before.Group, appOf(before.Routes), "host.released", fmt.Sprintf("%s is given up", host)
		return []api.Event{e}
	case before == nil:
		e.Group, e.App, e.Kind, e.Text = after.Group, appOf(after.Routes), "host.mapped", fmt.Sprintf("%s is %s%s", host, after.Exposure, routesTo(after.Routes))
		events = append(events, e)
		before = &cloud.VirtualHost{Host: host, Group: after.Group, Exposure: after.Exposure, Routes: withoutFades(after.Routes)}
	case before.Exposure != after.Exposure:
		e.Group, e.App, e.Kind, e.Text = after.Group, appOf(after.Routes), "host.changed", fmt.Sprintf("%s is %s", host, after.Exposure)
		events = append(events, e)
	}
	for i := range before.Routes {
		old := &before.Routes[i]
		if _, still := after.Route(old.Path); !still {
			events = append(events, api.Event{
				Time: at, Group: after.Group, App: appOf([]cloud.Route{*old}), Kind: "host.changed", Object: string(host) + old.Path,
				Text: fmt.Sprintf("%s%s routes to nothing", host, old.Path),
			})
		}
	}
	for i := range after.Routes {
		now := &after.Routes[i]
		old, _ := before.Route(now.Path)
		if e, changed := compareRoute(host, old, now); changed {
			e.Time, e.Group, e.Object = at, after.Group, string(host)+now.Path
			events = append(events, e)
		}
	}
	return events
}

// compareRoute returns the event for a changed route; old is nil for a new route.
func compareRoute(host cloud.Host, old, now *cloud.Route) (e api.Event, changed bool) {
	var was *cloud.Crossfade
	var ended *cloud.Faded
	if old != nil {
		was, ended = old.Crossfade, old.Faded
	}
	if kind, by, text := compareFade(was, now.Crossfade); kind != "" {
		to := now.Crossfade.To
		return api.Event{App: to.App, Release: to.N, Kind: "crossfade." + kind, By: by, Text: fmt.Sprintf("cross-fade of %s%s %s", host, now.Path, text)}, true
	}
	if f := now.Faded; f != nil && (ended == nil || !ended.Ended.Equal(f.Ended)) {
		e = api.Event{App: f.To.App, Release: f.To.N, By: f.By, Kind: "crossfade.finished", Text: fmt.Sprintf("%s%s has moved from %s to %s", host, now.Path, f.From, f.To)}
		if !f.Finished {
			e.Kind, e.Text = "crossfade.aborted", fmt.Sprintf("%s%s is rolled back to %s, %s had %v %%", host, now.Path, f.From, f.To, f.Share)
		}
		if f.Reason != "" {
			e.Text += ": " + f.Reason
		}
		return e, true
	}
	if old != nil && (slices.Equal(old.Targets, now.Targets) && slices.Equal(old.Rules, now.Rules) || was != nil && now.Crossfade != nil) {
		return api.Event{}, false
	}
	return api.Event{App: appOf([]cloud.Route{*now}), Kind: "host.changed", Text: fmt.Sprintf("%s%s routes to %s", host, now.Path, targetsOf(now))}, true
}

// compareFade describes the change of a running cross-fade; kind is "" if nothing changed.
func compareFade(old, now *cloud.Crossfade) (kind, by, text string) {
	switch {
	case now == nil:
		return "", "", ""
	case old == nil || !old.Started.Equal(now.Started) || old.To != now.To:
		return "started", now.By, fmt.Sprintf("from %s to %s has begun, %s", now.From, now.To, planOf(now))
	case old.Step != now.Step:
		text = fmt.Sprintf("gives %s %v %%", now.To, now.Share())
		if now.Reason != "" {
			text += ": " + now.Reason
		}
		return "step", now.MovedBy, text
	case !old.Paused && now.Paused:
		return "paused", now.MovedBy, fmt.Sprintf("is paused, %s has %v %%", now.To, now.Share())
	case old.Paused && !now.Paused:
		return "resumed", now.MovedBy, fmt.Sprintf("goes on, %s has %v %%", now.To, now.Share())
	}
	return "", "", ""
}

// planOf describes the plan of a cross-fade.
func planOf(f *cloud.Crossfade) string {
	steps := make([]string, len(f.Steps))
	for i, s := range f.Steps {
		steps[i] = fmt.Sprintf("%v", s)
	}
	plan := "in steps that micro chooses"
	if len(steps) > 0 {
		plan = fmt.Sprintf("in steps of %s %%", strings.Join(steps, ", "))
	}
	return fmt.Sprintf("%s over %s", plan, f.Over)
}

// routesTo describes the targets of a host's routes.
func routesTo(routes []cloud.Route) string {
	var b strings.Builder
	for i := range routes {
		b.WriteString(", ")
		if len(routes) > 1 || routes[i].Path != "/" {
			b.WriteString(routes[i].Path + " ")
		}
		b.WriteString("routes to " + targetsOf(&routes[i]))
	}
	return b.String()
}

func targetsOf(r *cloud.Route) string {
	if len(r.Targets) == 0 {
		return "nothing"
	}
	targets := make([]string, len(r.Targets))
	for i, t := range r.Targets {
		if targets[i] = t.ReleaseRef.String(); t.Weighted {
			targets[i] = fmt.Sprintf("%s (%d)", t.ReleaseRef, t.Weight)
		}
	}
	text := strings.Join(targets, " and ")
	for _, rule := range r.Rules {
		text += fmt.Sprintf(", %s to %s", rule.When, rule.To)
	}
	return text
}

// appOf returns the app of all routes' targets; "" for several apps or none.
func appOf(routes []cloud.Route) (app cloud.AppName) {
	for _, r := range routes {
		for _, t := range r.Targets {
			if app != "" && app != t.App {
				return ""
			}
			app = t.App
		}
	}
	return app
}

// withoutFades returns copies of routes without their cross-fades.
func withoutFades(routes []cloud.Route) []cloud.Route {
	routes = slices.Clone(routes)
	for i := range routes {
		routes[i].Crossfade, routes[i].Faded = nil, nil
	}
	return routes
}
