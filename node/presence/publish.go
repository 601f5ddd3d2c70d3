package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

const (
	seenPrefix = "seen/" // followed by a node's name and a slash
	// The kinds of what a node says, which follow that.
	statusKey       = "node"
	instancesPrefix = "instance/"
	crashesPrefix   = "crashes/"
	leftPrefix      = "left/"
)

// opsAtOnce is how much a node says in one transaction, so that it fits etcd's default limit.
const opsAtOnce = kv.DefaultOps

// publisher writes what this node observes.
type publisher struct {
	*Presence
	term *Term
	said map[cloud.AppRef]map[string][]byte // what was written in this term, by app and key
}

// Publish tells the other nodes what this one observes, until ctx ends.
func (p *Presence) Publish(ctx context.Context) error {
	for ctx.Err() == nil {
		t, changed := p.Current()
		if t != nil {
			if err := p.publishTerm(ctx, t); err != nil {
				p.Log.Debug("cannot tell the other nodes what this one observes", "err", err)
				pause(ctx, retryAfter)
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// publishTerm tells what this node observes as long as a lease lasts.
func (p *Presence) publishTerm(ctx context.Context, t *Term) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	if err := p.CatchUp(ctx); err != nil {
		return err
	}
	w := &publisher{p, t, map[cloud.AppRef]map[string][]byte{}}
	var old cloud.View
	for {
		view := p.Views.View()
		if err := w.write(ctx, old, view); err != nil || ctx.Err() != nil {
			return err
		}
		old = view
		if _, err := p.Views.Changed(ctx, old); err != nil {
			return nil
		}
	}
}

// headKey is the key of the store's head, which every change of the state writes and depends on.
const headKey = "cloud/rev"

// announce says under a lease that this node is alive. It writes the head as it is, so that a change which was decided
// while this node counted as dead fails, and is decided anew by who knows better: see Observed.
func (p *Presence) announce(ctx context.Context, lease kv.LeaseID) error {
	status, err := p.status(lease)
	if err != nil {
		return err
	}
	for {
		head, err := p.Engine.Get(ctx, headKey)
		if err != nil {
			return err
		}
		t := kv.Txn{If: []kv.Cond{kv.Unchanged(headKey, head.Rev)}, Put: []kv.Put{status}}
		if head.Rev != 0 {
			t.Put = append(t.Put, kv.Put{Key: headKey, Value: head.Value})
		}
		if _, err = p.Engine.Commit(ctx, t); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// status returns what this node says of itself.
func (p *Presence) status(lease kv.LeaseID) (kv.Put, error) {
	value, err := json.Marshal(cloud.NodeStatus{Name: p.Node, Alive: true, Routers: p.Routers})
	return kv.Put{Key: seenPrefix + string(p.Node) + "/" + statusKey, Value: value, Lease: lease}, err
}

// CatchUp waits until this node knows the newest state that a majority of the voters has. A node that was away must not
// offer instances that have lost their places meanwhile.
func (p *Presence) CatchUp(ctx context.Context) error {
	var head struct {
		Rev cloud.Revision `json:"rev"`
	}
	pair, err := p.Engine.Get(ctx, headKey)
	if err == nil && pair.Rev != 0 {
		err = json.Unmarshal(pair.Value, &head)
	}
	if err == nil && p.Views.AtLeast(ctx, head.Rev).State.Rev() < head.Rev {
		err = ctx.Err()
	}
	return err
}

// write writes what differs from what was written before: of the apps that changed since old, or of all.
func (w *publisher) write(ctx context.Context, old, now cloud.View) error {
	prefix := seenPrefix + string(w.Node) + "/"
	var t kv.Txn
	commit := func() error {
		if len(t.Put)+len(t.Del) == 0 {
			return nil
		}
		_, err := w.Engine.Commit(ctx, t)
		t = kv.Txn{}
		return err
	}
	say := func(app cloud.AppRef, want map[string][]byte) error {
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if bytes.Equal(w.said[app][key], want[key]) {
				continue
			}
			t.Put = append(t.Put, kv.Put{Key: prefix + key, Value: want[key], Lease: w.term.ID})
			if len(t.Put)+len(t.Del) >= opsAtOnce {
				if err := commit(); err != nil {
					return err
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(w.said[app])) {
			if _, still := want[key]; still {
				continue
			}
			t.Del = append(t.Del, prefix+key)
			if len(t.Put)+len(t.Del) >= opsAtOnce {
				if err := commit(); err != nil {
					return err
				}
			}
		}
		w.said[app] = want
		return nil
	}
	apps, ok := cloud.View{State: now.State, Instances: now.Instances}.TouchedApps(old)
	if !ok {
		apps = map[cloud.AppRef]bool{}
		for app := range w.said {
			apps[app] = true
		}
		for i := range now.Instances.All() {
			apps[i.AppRef] = true
		}
		for c := range now.Instances.AllCrashes() {
			apps[c.AppRef] = true
		}
		for app := range now.State.Apps("") {
			apps[app.AppRef] = true
		}
	}
	if old.State == nil {
		// What an earlier process has said and this one does not say is gone with that one's lease, or goes now.
		if err := w.dropOthers(ctx, prefix, now); err != nil {
			return err
		}
		status, err := w.status(w.term.ID)
		if err != nil {
			return err
		}
		t.Put = append(t.Put, status)
	}
	for app := range apps {
		if err := say(app, w.observed(now, app)); err != nil {
			return err
		}
	}
	return commit()
}

// dropOthers deletes this node's keys that are not so any more.
func (w *publisher) dropOthers(ctx context.Context, prefix string, now cloud.View) error {
	pairs, _, err := w.Engine.List(ctx, prefix)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(pairs, opsAtOnce) {
		var t kv.Txn
		for _, p := range chunk {
			id, isInstance := strings.CutPrefix(p.Key, prefix+instancesPrefix)
			if i, ok := now.Instances.Get(cloud.InstanceID(id)); isInstance && (!ok || i.Node != w.Node) {
				t.Del = append(t.Del, p.Key)
			}
		}
		if len(t.Del) > 0 {
			if _, err := w.Engine.Commit(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// observed returns what this node observes of an app, by key.
func (w *publisher) observed(v cloud.View, app cloud.AppRef) map[string][]byte {
	out := map[string][]byte{}
	add := func(key string, value any) {
		b, err := json.Marshal(value)
		if err != nil {
			w.Log.Error("cannot encode what this node observes", "key", key, "err", err)
			return
		}
		out[key] = b
	}
	for i := range v.Instances.OfApp(app) {
		if i.Node == w.Node {
			add(instancesPrefix+string(i.ID), offered(v.State, i))
		}
	}
	for c := range v.Instances.CrashesOf(app) {
		if c.Node == w.Node {
			add(crashesPrefix+slotKey(c.Slot), c)
		}
	}
	for l := range v.Instances.LeftOf(app) {
		if l.Node == w.Node {
			add(leftPrefix+slotKey(l.Slot), l)
		}
	}
	return out
}

// offered returns what the others are to know of an instance. One that has lost its place is not for their requests, even
// if this node has not begun to end it yet.
func offered(s *cloud.State, i *cloud.Instance) *cloud.Instance {
	a, ok := s.Assignment(i.ReleaseRef)
	if !ok || i.Phase != cloud.InstanceReady || slices.ContainsFunc(a.Places, func(p cloud.Place) bool { return a.Holds(p, i) }) {
		return i
	}
	next := *i
	next.Phase = cloud.InstanceDraining
	return &next
}

func slotKey(s cloud.Slot) string {
	return fmt.Sprintf("%s/%s/%d/%s/%d", s.Group, s.App, s.N, s.Process, s.Index)
}
