package handler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/access"
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/deploy/deploytest"
	"github.com/protoduction/micro/runtime"
)

// fakes are a node in memory: a cloud, and what else a handler serves.
type fakes struct {
	*deploytest.Cloud
	exec    func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error)
	lines   iter.Seq2[api.LogLine, error]
	info    api.Node
	trace   Trace
	records map[cloud.Host]cloud.CertificateRecord
	panics  bool
	group   string // of admins
}

func newFakes(t *testing.T) *fakes {
	return &fakes{Cloud: deploytest.New(t), group: "no-such-group", info: api.Node{Name: "n1", Ready: true, Domain: "micro.test", HTTP: []string{}, DNS: []string{}}}
}

func (f *fakes) AtLeast(ctx context.Context, rev cloud.Revision) cloud.View {
	if f.panics {
		panic("on purpose")
	}
	return f.Cell.AtLeast(ctx, rev)
}

func (f *fakes) Exec(ctx context.Context, id cloud.InstanceID, _ cloud.Actor, c runtime.Command) (int, error) {
	return f.exec(ctx, id, c)
}

func (f *fakes) Run(ctx context.Context, o OneOff) (int, error) {
	return f.exec(ctx, cloud.InstanceID(o.Release.String()), o.Command)
}

func (f *fakes) Stats(context.Context, cloud.InstanceID) (runtime.Stats, error) {
	return runtime.Stats{CPU: 1500 * time.Millisecond, Memory: 1 << 20, MemoryLimit: 1 << 30, Pids: 3}, nil
}

func (f *fakes) Load(ctx context.Context, r io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	return f.Import(ctx, r, progress)
}

func (f *fakes) FullName(name string) (string, error) {
	return "docker.io/library/" + name + ":latest", nil
}

func (f *fakes) ApplyNames(context.Context) {}

func (f *fakes) Blobs(context.Context, string) ([]runtime.Blob, error) {
	return []runtime.Blob{{Digest: "sha256:m", Size: 1}, {Digest: "sha256:l", Size: 2}}, nil
}

func (f *fakes) Export(_ context.Context, digest string, without map[string]bool, w io.Writer) error {
	_, err := fmt.Fprint(w, digest, " without ", len(without))
	return err
}

func (f *fakes) List(context.Context) ([]runtime.Image, error) {
	return []runtime.Image{deploytest.Image}, nil
}

type fakeLogs struct{ f *fakes }

func (l fakeLogs) Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error] {
	return l.f.lines
}

type fakeEvents struct{}

func (fakeEvents) Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if !yield(api.Event{Kind: "push", Object: "shop@r1", Cursor: "1.1"}, nil) || !q.Follow {
			return
		}
		<-ctx.Done()
		yield(api.Event{}, ctx.Err())
	}
}

func (f *fakes) Info() api.Node             { return f.info }
func (f *fakes) URLs(h cloud.Host) []string { return []string{"http://" + string(h)} }
func (f *fakes) Profile(context.Context) (api.Profile, error) {
	return api.Profile{Facts: []api.Fact{}, Nodes: []api.NodeProfile{}}, nil
}

func (f *fakes) Doctor(context.Context) []api.Check {
	return []api.Check{{Name: "root", Status: api.OK}}
}
func (f *fakes) Disk(context.Context) (api.Disk, error) {
	return api.Disk{Parts: []api.DiskPart{}}, nil
}

// fakeProvided is a cloud without a provider.
type fakeProvided struct{}

var errNoProvider = cloud.Errorf(cloud.Conflict, "this cloud has no OpenID Connect provider")

func (fakeProvided) Seal(secret string) (cloud.Sealed, error) { return cloud.Sealed("sealed"), nil }

func (fakeProvided) AuthURL(context.Context, string, string, string, string, string) (string, error) {
	return "", errNoProvider
}

func (fakeProvided) Exchange(context.Context, string, string, string, string, string) (string, cloud.Token, error) {
	return "", cloud.Token{}, errNoProvider
}

func (fakeProvided) BeginDevice(context.Context, string) (api.DeviceLogin, error) {
	return api.DeviceLogin{}, errNoProvider
}

func (fakeProvided) Poll(context.Context, string, string) (string, cloud.Token, bool, error) {
	return "", cloud.Token{}, false, errNoProvider
}

type fakeLinks struct{}

func (fakeLinks) URLs(l *cloud.Link) []string {
	return []string{"http://" + string(l.Host) + "/.micro/share/" + string(l.ID)}
}

func (f *fakes) Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string {
	return fmt.Sprintf("r%d for %s until %s", r.N, h, until.Format(time.RFC3339))
}

func (f *fakes) Records(context.Context) (map[cloud.Host]cloud.CertificateRecord, error) {
	return f.records, nil
}

func (f *fakes) Addresses() []netip.Addr { return []netip.Addr{netip.MustParseAddr("203.0.113.5")} }

func (f *fakes) Check(_ context.Context, _ *cloud.State, d *cloud.PublicDomain) api.DomainCheck {
	return api.DomainCheck{Name: d.Name, Records: []api.DomainRecord{}, CAA: []api.DomainRecord{}}
}

func (f *fakes) CAA(context.Context, *cloud.PublicDomain) []api.DomainRecord { return nil }

func (f *fakes) Files() map[cloud.Host]api.Certificate { return nil }
func (f *fakes) Orders() bool                          { return true }

func (f *fakes) Authority(context.Context) (*cloud.Authority, error) {
	return &cloud.Authority{Domain: "micro.test", Certificate: []byte("certificate")}, nil
}

type fakeAudit struct{}

func (fakeAudit) Lines(_ context.Context, after uint64, _ bool) iter.Seq2[api.AuditLine, error] {
	return func(yield func(api.AuditLine, error) bool) {
		for n := after + 1; n <= 5; n++ {
			if !yield(api.AuditLine{Number: n, By: "ann", Verb: "push", Result: "done"}, nil) {
				return
			}
		}
	}
}

type fakePasswords struct{}

func (fakePasswords) Hash(password string) (string, error) { return "hash of " + password, nil }

func (p fakePasswords) Verify(u *cloud.User, password string) error {
	if u == nil || u.Password != "hash of "+password {
		return cloud.Errorf(cloud.Denied, "the password is wrong")
	}
	return nil
}

func (f *fakes) Everywhere(context.Context, cloud.Revision) {}

func (f *fakes) Parked(context.Context, cloud.Host, string) api.ParkedRequests {
	return api.ParkedRequests{Waited: 1}
}

func (f *fakes) Drop(context.Context, cloud.AppRef) error { return nil }

func (f *fakes) Inspect(context.Context, Probe) Trace { return f.trace }

func (f *fakes) OfInstances(context.Context) map[cloud.InstanceID]InstanceRequests {
	return map[cloud.InstanceID]InstanceRequests{"i1": {Total: 7, InFlight: 2}}
}

func (f *fakes) Figures(context.Context) []api.ReleaseFigures {
	return []api.ReleaseFigures{{Group: "default", App: "blog", Release: 1}, {Group: "default", App: "shop", Release: 7}, {Group: "qa", App: "shop", Release: 1}}
}

func (f *fakes) Write(w io.Writer) error {
	_, err := io.WriteString(w, "micro_instances 1\n")
	return err
}

func (f *fakes) Compare(_ context.Context, h cloud.Host, path string) (api.Comparison, error) {
	return api.Comparison{Host: h, Path: path, Releases: []api.Compared{}}, nil
}

func (f *fakes) Prune(context.Context) (api.Pruned, error) { return api.Pruned{Bytes: 7}, nil }

// served is a handler on a unix socket, its client and its fakes.
type served struct {
	f *fakes
	h *Handler
	*api.Client
	dir  string
	sock string
	stop func()
}

func (f *fakes) config(d *deploy.Deployer) Config {
	return Config{
		Store: f, Views: f, Pushes: d, Transfers: d, Rollouts: d, BuildLogs: d,
		Commands: f, Usage: f, Requests: f, Images: f, Logs: fakeLogs{f}, Events: fakeEvents{}, Inspector: f, Compare: f, Passes: f, Links: fakeLinks{}, Provided: fakeProvided{}, Certificates: f, Delegations: f, Webhooks: fakeWebhooks{},
		Cluster: fakeCluster{},
		Volumes: f, Passwords: fakePasswords{}, Callers: access.New(f, nil, time.Now), Audit: fakeAudit{}, Status: f, Profiles: f, Metrics: f, Disk: f, Down: func() {}, Domain: "micro.test", URLs: f.URLs,
		Services: fakeServices{f}, Backups: fakeBackups{}, VolumeWorks: fakeVolumeWorks{}, CloudKey: fakeKey{}, Routers: f,
		Version: api.Version{Version: "1.0", Go: "go", API: "v1"}, AdminGroup: f.group, Log: slog.New(slog.DiscardHandler),
	}
}

func (f *fakes) deployer(t *testing.T, dir string) *deploy.Deployer {
	t.Helper()
	d, err := deploy.New(deploy.Config{
		Store: f, Views: f, Images: f, Builder: f, Unpack: deploytest.Unpack, Dir: dir, Domain: "micro.test", URLs: f.URLs,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serveFakes runs a handler on fakes, which a test may keep for another one.
func serveFakes(t *testing.T, f *fakes, dir string) *served {
	t.Helper()
	d := f.deployer(t, dir)
	h, err := New(f.config(d))
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "mh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	sock := filepath.Join(sockets, "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sockets, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(sock, 0o777); err != nil {
		t.Fatal(err)
	}
	client, err := api.New("unix://" + sock)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Run(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	running.Go(func() { f.Lead(ctx) })
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s := &served{f: f, h: h, Client: client, dir: dir, sock: sock}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	t.Cleanup(s.stop)
	return s
}

func newServed(t *testing.T) *served { return serveFakes(t, newFakes(t), t.TempDir()) }

// last reads a push's events to the end.
func (s *served) last(t *testing.T, id string) (*api.Outcome, error) {
	t.Helper()
	for e, err := range s.PushEvents(t.Context(), id, 1) {
		if err != nil || e.Outcome != nil {
			return e.Outcome, err
		}
	}
	t.Fatal("no end")
	return nil, nil
}

// pushed is a push of an image that has ended well.
func (s *served) pushed(t *testing.T, app cloud.AppName, d api.PushRequest) *api.Outcome {
	t.Helper()
	if d.Source == nil && !d.Archive {
		d.Image = "web:1"
	}
	p, err := s.Push(t.Context(), ref(app), d)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.last(t, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ref(app cloud.AppName) cloud.AppRef { return cloud.AppRef{Group: cloud.DefaultGroup, App: app} }

// wantCode fails unless err has the code and its text has all of the words.
func wantCode(t *testing.T, err error, code cloud.Code, words ...string) {
	t.Helper()
	if cloud.CodeOf(err) != code {
		t.Errorf("got %v (%s), want %s", err, cloud.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !contains(err.Error()+" hint: "+cloud.HintOf(err), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// fakeCluster is a cloud of one node.
type fakeCluster struct{}

func (fakeCluster) Start(context.Context, netip.AddrPort, *cloud.ExternalStore, cloud.Actor) error {
	return nil
}

func (fakeCluster) Recover(context.Context, cloud.Actor) error { return nil }

func (fakeCluster) Upgrade(_ context.Context, node cloud.NodeName, _ cloud.Actor) (api.NodeUpgrade, error) {
	return api.NodeUpgrade{Node: node, From: "1.0", To: "1.1"}, nil
}

func (fakeCluster) NewToken(_ context.Context, life time.Duration, _ cloud.Actor) (api.JoinToken, error) {
	return api.JoinToken{Token: "microjoin_1", Expires: time.Unix(0, 0).Add(life)}, nil
}

func (fakeCluster) Status(context.Context) (api.Cluster, error) {
	return api.Cluster{Writable: true, Nodes: []api.ClusterNode{{Name: "n1", Status: "alive", Store: "none"}}}, nil
}

// fakeWebhooks accept everything.
type fakeWebhooks struct{}

func (fakeWebhooks) Last(*cloud.Webhook) (at time.Time, failure string, err error) { return }

func (fakeWebhooks) Post(context.Context, *cloud.Webhook, cloud.Notice) error { return nil }
