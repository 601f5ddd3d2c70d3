package node

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/protoduction/micro/access"
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/disk"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/webhook"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/services"
	"github.com/protoduction/micro/store"
)

// The adapters in this file implement the small interfaces that the parts declare for each other.

func cores() int { return goruntime.NumCPU() }

// newSuffix returns six random letters and digits that make an instance's ID unique.
func newSuffix() string { return strings.ToLower(rand.Text()[:6]) }

// drainer lets the agent take instances out of the routers of all nodes.
type drainer struct{ *Node }

// askSockets is how often Drain looks for connections of other nodes' routers.
const askSockets = 100 * time.Millisecond

// Drain returns when no router has a request in flight to the instance, nor will send one. It asks the routers of all
// living nodes, and then looks for connections of nodes that did not answer.
func (d drainer) Drain(ctx context.Context, id cloud.InstanceID) error {
	i, ok := d.snapshots.View().Instances.Get(id)
	others := make(chan struct{})
	go func() {
		defer close(others)
		d.everyNode(ctx, http.MethodPost, "/peer/drain", url.Values{"instance": {string(id)}})
	}()
	err := d.router.Drain(ctx, id)
	<-others
	if err != nil || !ok {
		return err
	}
	for {
		open, err := d.net.FromNodes(i.Addr.Addr())
		if err != nil {
			d.log.Warn("cannot see whether other nodes have requests to an instance", "instance", id, "err", err)
		}
		if open == 0 {
			return nil
		}
		select {
		case <-time.After(askSockets):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leaderWriter lets the leader change the state as actor "micro". Each change is written together with the new
// places of instances.
type leaderWriter struct {
	store   *store.Store
	views   *cloud.Cell
	reserve *disk.Reserve
	now     func() time.Time
}

func (w leaderWriter) Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	return w.reserve.Retry(func() error {
		_, err := w.store.Update(ctx, cloud.Actor{Name: "micro", Source: "leader"}, verb, object, withConsequences(w.views.View, w.now, change))
		return err
	})
}

// withConsequences returns a change with the accounts that its releases need, and with the places that follow from both.
func withConsequences(views func() cloud.View, now func() time.Time, change func(*cloud.State) ([]cloud.Change, error)) func(*cloud.State) ([]cloud.Change, error) {
	return leader.WithPlaces(views, services.WithAccounts(views, now, change))
}

// apiStore lets the API change the state in the name of its caller. Each change is written together with the new
// places of instances, and is in the router's table when Update returns.
type apiStore struct {
	store            *store.Store
	views, published *cloud.Cell
	reserve          *disk.Reserve
	writable         func(context.Context) error
	now              func() time.Time
}

// publishTimeout is how long Update waits until the router has a change. The change is already written then.
const publishTimeout = 5 * time.Second

func (t apiStore) State() *cloud.State { return t.store.State() }

// auditLog lets the API read who did what.
type auditLog struct{ store *store.Store }

func (a auditLog) Lines(ctx context.Context, after uint64, follow bool) iter.Seq2[api.AuditLine, error] {
	return func(yield func(api.AuditLine, error) bool) {
		for l, err := range a.store.Audit(ctx, after, follow) {
			line := api.AuditLine{
				Number: l.N, Time: l.Time, By: l.Name, Role: l.Role, Source: l.Source, Token: l.Token, Request: l.RequestID,
				Verb: l.Verb, Object: l.Object, Result: l.Result, Revision: l.Rev, Count: l.Count, Previous: l.Prev,
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

func (t apiStore) Record(ctx context.Context, by cloud.Actor, verb, object, result string) error {
	return t.store.Record(ctx, by, verb, object, result)
}

func (t apiStore) Refused(by cloud.Actor, verb, object string) { t.store.Refused(by, verb, object) }

func (t apiStore) Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	var s *cloud.State
	if err := t.writable(ctx); err != nil {
		return nil, err
	}
	err := t.reserve.Retry(func() (err error) {
		s, err = t.store.Update(ctx, by, verb, object, withConsequences(t.views.View, t.now, fn))
		return err
	})
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	t.published.AtLeast(ctx, s.Rev())
	return s, nil
}

// commands lets the API run commands and read the resource usage of instances, on any node.
type commands struct {
	*Node
	driver runtime.Driver
	agent  *runtime.Agent
}

// elsewhere returns an instance of another node.
func (r commands) elsewhere(id cloud.InstanceID) (*cloud.Instance, bool) {
	i, ok := r.snapshots.View().Instances.Get(id)
	return i, ok && i.Node != r.cfg.Name
}

func (r commands) Exec(ctx context.Context, id cloud.InstanceID, by cloud.Actor, c runtime.Command) (int, error) {
	if i, ok := r.elsewhere(id); ok {
		client, err := r.apiOf(i.Node, by)
		if err != nil {
			return 0, err
		}
		streams := api.Streams{Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, Resize: sizes(ctx, c.Resize)}
		return client.Exec(ctx, i.AppRef, api.Command{
			Instance: id, Args: c.Args, Env: c.Env, User: c.User, Dir: c.Dir, TTY: c.TTY, Rows: c.Rows, Columns: c.Columns,
		}, streams)
	}
	r.agent.Unpaused(id)
	c.Env = append(r.agent.Secrets(id), c.Env...)
	return r.driver.Exec(ctx, string(id), c)
}

// sizes converts the sizes of a terminal.
func sizes(ctx context.Context, in <-chan runtime.Size) <-chan api.Size {
	if in == nil {
		return nil
	}
	out := make(chan api.Size)
	go func() {
		for {
			select {
			case s := <-in:
				select {
				case out <- api.Size(s):
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (r commands) Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error) {
	if i, ok := r.elsewhere(id); ok {
		return callNode[runtime.Stats](ctx, r.Node, i.Node, http.MethodGet, "/peer/stats", url.Values{"instance": {string(id)}})
	}
	return r.stats(ctx, id)
}

// stats returns what an instance of this node uses, with its log lines of level error.
func (n *Node) stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error) {
	s, err := n.driver.Stats(ctx, string(id))
	s.ErrorLines = n.logs.ErrorLines(id)
	return s, err
}

// Run runs the command on this node, or on the one that has the release's volumes.
func (r commands) Run(ctx context.Context, o handler.OneOff) (int, error) {
	if node, ok := r.volumesElsewhere(o.Release); ok {
		client, err := r.apiOf(node, o.By)
		if err != nil {
			return 0, err
		}
		c := o.Command
		streams := api.Streams{Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, Resize: sizes(ctx, c.Resize)}
		return client.Run(ctx, o.Release.AppRef, api.Command{
			Release: o.Release.N, Process: o.Process, Memory: o.Memory, Args: c.Args, Env: c.Env, User: c.User, Dir: c.Dir, TTY: c.TTY, Rows: c.Rows, Columns: c.Columns,
		}, streams)
	}
	return r.agent.RunOnce(ctx, o.Release, o.Process, o.Memory, o.Command)
}

// tenants tells the DNS server and the router the group of a container. It asks the network, because containers
// for single commands are in no view.
type tenants struct {
	net   *network.Network
	views *cloud.Cell
}

// GroupOf implements dnsd.Groups.
func (t tenants) GroupOf(client netip.Addr) string {
	tenant, ok := t.net.Tenant(client)
	if !ok {
		return ""
	}
	for g := range t.views.View().State.Groups() {
		if g.Number == tenant {
			return string(g.Name)
		}
	}
	return ""
}

// passes signs passes to releases for the API.
type passes struct{ secret []byte }

func (p passes) Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string {
	return router.Pass(p.secret, h, r, until)
}

// provided lets the API log people in by the cloud's OpenID Connect provider.
type provided struct{ *access.Access }

func (p provided) BeginDevice(ctx context.Context, source string) (api.DeviceLogin, error) {
	d, err := p.Device(ctx, source)
	return api.DeviceLogin{Code: d.Code, UserCode: d.UserCode, URL: d.URL, Complete: d.Complete, Interval: cloud.Duration(d.Interval), Expires: d.Expires}, err
}

// links signs links to releases for the API.
type links struct {
	secret    []byte
	addresses *addresses.Bound
}

func (l links) URLs(link *cloud.Link) []string {
	urls := l.addresses.OutsideURLs(link.Host)
	for i := range urls {
		urls[i] += router.LinkPath(l.secret, link)
	}
	return urls
}

// webhooks lets the API send notices and read what has been sent.
type webhooks struct {
	*webhook.Poster
	notes leader.Notes
}

func (w webhooks) Last(hook *cloud.Webhook) (at time.Time, failure string, err error) {
	d, err := leader.LoadDelivery(w.notes, hook)
	return d.Last, d.Error, err
}

// diskSpace lets the API read the node's disk usage and free unused space.
type diskSpace struct {
	data      string
	images    *images.Store
	store     *store.Store
	pushes    *deploy.Deployer
	retention *leader.Retention
	janitor   *janitor.Janitor
	builder   *build.Builder
	reserve   *disk.Reserve
}

func (s diskSpace) Disk(ctx context.Context) (api.Disk, error) {
	return disk.Usage(ctx, s.data, func(ctx context.Context) (int64, int64, error) {
		space, err := s.images.Space(ctx)
		return space.Images, space.Cache, err
	})
}

// Prune removes images that no release can be rolled back to, and what pushes and builds keep for speed. It has
// the reserve, as it must work on a full disk, and one part that fails keeps none of the others.
func (s diskSpace) Prune(ctx context.Context) (api.Pruned, error) {
	defer s.reserve.Lend()()
	before, berr := s.Disk(ctx)
	err := errors.Join(s.pushes.Prune(s.store.State()), s.retention.Prune(ctx))
	ierr := s.janitor.Prune(ctx)
	_, cerr := s.builder.Prune(ctx)
	err = errors.Join(err, ierr, cerr, s.images.Collect(ctx))
	after, aerr := s.Disk(ctx)
	if berr != nil || aerr != nil {
		return api.Pruned{}, errors.Join(err, berr, aerr)
	}
	// What parts say of themselves is not what the disk gets back: they have files in common.
	return api.Pruned{Bytes: max(0, disk.Prunable(before)-disk.Prunable(after))}, err
}
