package events

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// compare returns events for the differences between two views.
func compare(old, now cloud.View, at time.Time) (events []api.Event) {
	apps, hosts, ok := now.Touched(old)
	if !ok { // a group or the settings changed, and perhaps apps with them
		if old.State == nil || old.Instances == nil {
			return nil // nothing was seen before
		}
		apps, hosts = everything(old, now)
	}
	for _, app := range slices.SortedFunc(maps.Keys(apps), func(a, b cloud.AppRef) int { return strings.Compare(a.String(), b.String()) }) {
		events = append(events, compareApp(old, now, app, at)...)
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		before, _ := old.State.VirtualHost(host)
		after, _ := now.State.VirtualHost(host)
		events = append(events, compareHost(host, before, after, at)...)
	}
	return events
}

// everything returns all apps and hosts of the views.
func everything(views ...cloud.View) (apps map[cloud.AppRef]bool, hosts map[cloud.Host]bool) {
	apps, hosts = map[cloud.AppRef]bool{}, map[cloud.Host]bool{}
	for _, v := range views {
		for group := range v.State.Groups() {
			for app := range v.State.Apps(group.Name) {
				apps[app.AppRef] = true
			}
		}
		for i := range v.Instances.All() {
			apps[i.AppRef] = true
		}
		for host := range v.State.VirtualHosts() {
			hosts[host.Host] = true
		}
	}
	return apps, hosts
}

func compareApp(old, now cloud.View, ref cloud.AppRef, at time.Time) (events []api.Event) {
	add := func(release int, kind, object, by, text string) {
		events = append(events, api.Event{Time: at, Group: ref.Group, App: ref.App, Release: release, Kind: kind, Object: object, By: by, Text: text})
	}
	before, was := old.State.App(ref)
	after, is := now.State.App(ref)
	switch {
	case was && !is:
		add(0, "app.deleted", ref.String(), "", fmt.Sprintf("app %s is deleted", ref))
	case is && !was:
		add(0, "app.created", ref.String(), "", fmt.Sprintf("app %s is new", ref))
	}
	for rel := range now.State.Releases(ref) {
		prev, existed := old.State.Release(rel.ReleaseRef)
		switch {
		case !existed:
			add(rel.N, "release.created", rel.ReleaseRef.String(), rel.By, fmt.Sprintf("%s made by %s", rel.ReleaseRef, rel.Cause))
		case prev.Failure == nil && rel.Failure != nil:
			add(rel.N, "release.failed", rel.ReleaseRef.String(), "", rel.Failure.Reason)
		case !prev.Stopped && rel.Stopped:
			add(rel.N, "release.stopped", rel.ReleaseRef.String(), "", fmt.Sprintf("%s is stopped", rel.ReleaseRef))
		case !prev.Up && rel.Up:
			add(rel.N, "release.up", rel.ReleaseRef.String(), "", fmt.Sprintf("%s is up", rel.ReleaseRef))
		}
	}
	if is && after.Current != 0 && (!was || before.Current != after.Current) {
		add(after.Current, "release.current", ref.Release(after.Current).String(), "", fmt.Sprintf("%s is current", ref.Release(after.Current)))
	}
	for i := range now.Instances.OfApp(ref) {
		prev, existed := old.Instances.Get(i.ID)
		if existed && prev.Phase == i.Phase {
			continue
		}
		text := fmt.Sprintf("%s is %s", i.Slot, i.Phase)
		if i.Reason != "" {
			text += ": " + i.Reason
		}
		add(i.N, "instance."+string(i.Phase), i.Slot.String(), "", text)
	}
	for i := range old.Instances.OfApp(ref) {
		if _, still := now.Instances.Get(i.ID); !still {
			text := fmt.Sprintf("%s is gone", i.Slot)
			if i.Phase == cloud.InstanceStopping && i.Exit == nil && i.Reason != "" {
				text += ": it " + i.Reason
			}
			add(i.N, "instance.gone", i.Slot.String(), "", text)
		}
	}
	return events
}
