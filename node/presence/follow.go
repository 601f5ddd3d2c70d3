package presence

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// unseenAfter is how long a node that has said nothing since this one began to listen may be starting. Then it is dead.
const unseenAfter = 15 * time.Second

// follower reads what the other nodes say into the snapshot cell.
type follower struct {
	*Presence
	keys map[string]any // what was said by other nodes, decoded, by key
}

// Follow reads what the other nodes observe, until ctx ends. It closes followed when it has first read all.
func (p *Presence) Follow(ctx context.Context, followed chan<- struct{}) error {
	f := &follower{p, map[string]any{}}
	first := sync.OnceFunc(func() { close(followed) })
	p.mu.Lock()
	p.follows = true
	p.mu.Unlock()
	began := time.Now()
	for ctx.Err() == nil {
		pairs, rev, err := p.Engine.List(ctx, seenPrefix)
		if err != nil {
			pause(ctx, retryAfter)
			continue
		}
		f.replace(pairs)
		p.reached(rev)
		first()
		watching, cancel := context.WithCancel(ctx)
		stop := time.AfterFunc(time.Until(began.Add(unseenAfter)), f.buryUnseen)
		for batch, err := range p.Engine.Watch(watching, "", rev) {
			if err != nil {
				break
			}
			f.apply(batch.Changes)
			p.reached(batch.Rev)
		}
		p.reached(0)
		stop.Stop()
		cancel()
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}

// replace makes pairs all that the other nodes say.
func (f *follower) replace(pairs []kv.Pair) {
	is := map[string]bool{}
	var changes []kv.Change
	for _, p := range pairs {
		is[p.Key] = true
		changes = append(changes, kv.Change{Key: p.Key, Value: p.Value})
	}
	for key := range f.keys {
		if !is[key] {
			changes = append(changes, kv.Change{Key: key})
		}
	}
	f.apply(changes)
}

// apply applies changes of what nodes say.
func (f *follower) apply(changes []kv.Change) {
	f.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
		for _, c := range changes {
			rest, seen := strings.CutPrefix(c.Key, seenPrefix)
			node, key, _ := strings.Cut(rest, "/")
			if seen && cloud.NodeName(node) != f.Node { // what happens here is known already, and sooner
				o = f.applyOne(o, cloud.NodeName(node), c.Key, key, c.Value)
			}
		}
		return o
	})
}

func (f *follower) applyOne(o *cloud.Instances, node cloud.NodeName, full, key string, value []byte) *cloud.Instances {
	old := f.keys[full]
	var err error
	switch {
	case key == statusKey:
		if value == nil {
			delete(f.keys, full)
			f.Log.Info("a node is dead: its lease has ended, or it has left", "node", string(node))
			was, _ := old.(*cloud.NodeStatus)
			return o.WithNode(f.buried(node, was != nil && was.Left))
		}
		status := &cloud.NodeStatus{}
		f.keys[full] = status
		if err := json.Unmarshal(value, status); err != nil {
			f.Log.Warn("cannot read what another node says of itself", "node", string(node), "err", err)
		}
		status.Name, status.Alive = node, !status.Left
		return o.WithNode(status)
	case value == nil:
		delete(f.keys, full)
		switch was := old.(type) {
		case *cloud.Instance:
			return o.Without(was.ID)
		case *cloud.Crashes:
			if now, ok := o.Crashes(was.Slot); ok && now.Node == node {
				return o.WithoutCrashes(was.Slot)
			}
		case *cloud.Left:
			return o.WithoutLeft(was.Slot, node)
		}
		return o
	case strings.HasPrefix(key, instancesPrefix):
		i := &cloud.Instance{}
		if err = json.Unmarshal(value, i); err == nil && i.Node == node {
			f.keys[full] = i
			return o.With(i)
		}
	case strings.HasPrefix(key, crashesPrefix):
		c := &cloud.Crashes{}
		if err = json.Unmarshal(value, c); err == nil {
			f.keys[full] = c
			// A slot that has moved has the counts of several nodes: the newest counts.
			if now, ok := o.Crashes(c.Slot); !ok || now.Node == node || !now.Last.At.After(c.Last.At) {
				return o.WithCrashes(c)
			}
		}
	case strings.HasPrefix(key, leftPrefix):
		l := &cloud.Left{}
		if err = json.Unmarshal(value, l); err == nil && l.Node == node {
			f.keys[full] = l
			return o.WithLeft(l)
		}
	}
	if err != nil {
		f.Log.Warn("cannot read what another node says", "node", string(node), "key", key, "err", err)
	}
	return o // or of a kind that only a newer micro knows
}

// buried returns what is known of a node whose lease has ended. An etcd that led, stood still, and goes on may end the leases
// of all nodes before it hears that another one leads. So unless the node has left by itself, what must not run twice may run
// there until its shims kill it: until a while after the last renewal, which was before the lease ended.
func (f *follower) buried(node cloud.NodeName, left bool) *cloud.NodeStatus {
	if left {
		return &cloud.NodeStatus{Name: node}
	}
	status := &cloud.NodeStatus{Name: node, Fenced: true}
	time.AfterFunc(ttl, func() {
		f.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
			if now, ok := o.NodeStatus(node); !ok || now != status {
				return o
			}
			return o.WithNode(&cloud.NodeStatus{Name: node})
		})
	})
	return status
}

// Await waits until this node knows what the others observed before an engine's revision. So a release never becomes
// current here before its instances are known. It waits for a moment at most: the state must not stand still.
func (p *Presence) Await(ctx context.Context, rev int64) {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	_ = p.await(ctx, func() bool { return p.known == 0 || p.known >= rev }) // 0: nothing is being followed
}

// Observed waits until this node knows what the others observed up to an engine's revision. It returns an error of code
// Unavailable if that takes too long. What other nodes are given depends on it: a node that has just come back has said so in
// the revision of a head (announce), and must not count as dead in any change that depends on this head or a later one.
func (p *Presence) Observed(ctx context.Context, rev int64) error {
	ctx, cancel := context.WithTimeout(ctx, observedTimeout)
	defer cancel()
	if err := p.await(ctx, func() bool { return !p.follows || p.known >= rev }); err != nil {
		return cloud.Errorf(cloud.Unavailable, "this node does not know yet what the other nodes run: %w", err).WithHint("try again")
	}
	return nil
}

// await waits until so is true, which is called with mu held.
func (p *Presence) await(ctx context.Context, so func() bool) error {
	for {
		p.mu.Lock()
		is, moved := so(), p.moved
		if moved == nil {
			moved = make(chan struct{})
			p.moved = moved
		}
		p.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	awaitTimeout    = 500 * time.Millisecond
	observedTimeout = 5 * time.Second
)

// reached notes the engine's revision up to which all is known; 0 for none.
func (p *Presence) reached(rev int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = rev
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// buryUnseen marks nodes dead that have said nothing for a while.
func (f *follower) buryUnseen() {
	v := f.Views.View()
	f.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
		for n := range v.State.Nodes() {
			if _, ok := o.NodeStatus(n.Name); !ok && n.Name != f.Node {
				o = o.WithNode(&cloud.NodeStatus{Name: n.Name})
			}
		}
		return o
	})
}
