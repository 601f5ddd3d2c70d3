package services

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
}

// Images bring an image into the node's store.
type Images interface {
	Pull(ctx context.Context, ref string, progress func(runtime.Progress)) (runtime.Image, error)
}

// Provider creates services and runs the commands of their kinds.
type Provider struct {
	Store    Store
	Views    Views
	Images   Images
	Commands Commands
	Archives Archives
	Volumes  Volumes
	HTTP     *http.Client // for brokers
	Node     cloud.NodeName
	Process  string // of this node's process: another one after each start
	Log      *slog.Logger
	Now      func() time.Time
}

// Check is a condition that is looked at in the transaction that creates a service.
type Check = func(*cloud.State, []cloud.Change) error

// Create creates a service and returns its release. An external service is tried first: it must be reached and accept the
// log-in.
func (p *Provider) Create(ctx context.Context, by cloud.Actor, group cloud.GroupName, want api.NewService, check Check) (cloud.ReleaseRef, cloud.Revision, error) {
	if want.Broker != "" {
		return p.createAtBroker(ctx, by, group, want, check)
	}
	state := p.Store.State()
	ref := cloud.AppRef{Group: group, App: want.Name}
	if app, ok := state.App(ref); ok && app.Service == nil {
		return cloud.ReleaseRef{}, 0, cloud.Errorf(cloud.Conflict, "app %s exists already", ref).WithHint("choose another name")
	}
	kind, given, err := kindOf(state, want)
	if err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	reference, version, err := kind.image(want.Version)
	if err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	if err := ref.App.Validate(); err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	image, err := p.Images.Pull(ctx, reference, func(runtime.Progress) {})
	if err != nil {
		return cloud.ReleaseRef{}, 0, err
	}
	n := cloud.NewService{
		App:     ref,
		Service: cloud.Service{Kind: kind.Name, Version: version, Variable: kind.Variable, Variables: kind.variables(), Production: want.Production, External: want.URL != ""},
		Built:   cloud.Built{Image: cloud.Image{Digest: image.Digest, Name: reference}},
		Spec:    kind.spec(want, rand.Text()),
	}
	if n.Service.External {
		n.Service.Version = ""
		n.Spec = kind.externalSpec(given)
	}
	at := cloud.Stamp{At: p.Now().UTC().Truncate(time.Millisecond), By: by.Name}
	var made cloud.ReleaseRef
	s, err := p.Store.Update(ctx, by, "create-service", ref.String(), func(s *cloud.State) (changes []cloud.Change, err error) {
		if changes, made, err = s.CreateService(n, at); err != nil {
			return nil, err
		}
		return changes, check(s, changes)
	})
	if err != nil {
		return made, 0, err
	}
	if n.Service.External {
		err = p.try(ctx, by, kind, ref, made)
	}
	return made, s.Rev(), err
}

// kindOf returns the kind of a service to create, and the credentials of an external one.
func kindOf(s *cloud.State, want api.NewService) (k *Kind, given cloud.Credentials, err error) {
	if want.URL == "" {
		k, err = KindOf(s, want.Kind)
		return k, given, err
	}
	if want.Kind != "" {
		k, err = KindOf(s, want.Kind)
	} else {
		u, perr := url.Parse(want.URL)
		if perr != nil {
			return nil, given, cloud.Errorf(cloud.Invalid, "the URL cannot be read")
		}
		k, err = kindOfURL(s, u)
	}
	if err == nil {
		given, err = k.parseURL(want.URL)
	}
	return k, given, err
}

// spec is what the release of a service runs.
func (k *Kind) spec(want api.NewService, secret string) cloud.PushSpec {
	memory, err := cloud.ParseSize(k.Memory)
	if err != nil || want.Memory != 0 {
		memory = want.Memory
	}
	port, one := k.Port, 1
	probe := cloud.Check{Type: cloud.CheckCommand, Script: k.Probe, Timeout: cloud.Duration(5 * time.Second)}
	web := cloud.ProcessSpec{Command: &k.Command, Instances: &one, Port: &port, Memory: &memory, Liveness: &probe}
	if want.CPU != 0 {
		web.CPU = &want.CPU
	}
	if k.Startup != 0 {
		d := cloud.Duration(k.Startup) * cloud.Duration(time.Second)
		web.Startup = &d
	}
	if k.StopGrace != 0 {
		d := cloud.Duration(k.StopGrace) * cloud.Duration(time.Second)
		web.StopGrace = &d
	}
	spec := cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: web}, Env: map[string]string{}}
	for name, template := range k.Env {
		spec.Env[name] = fill(template, map[string]string{"secret": secret}, same)
	}
	if k.Volume != "" {
		spec.Volumes = []cloud.Volume{{Name: "data", Path: k.Volume}}
	}
	spec.Strategy = &cloud.Strategy{Kind: cloud.Recreate}
	return spec
}

// externalSpec is that of a release which has no instance, and whose image has the client programs.
func (k *Kind) externalSpec(c cloud.Credentials) cloud.PushSpec {
	none, memory, port := 0, int64(256<<20), k.Port
	process := cloud.Check{Type: cloud.CheckProcess}
	spec := cloud.PushSpec{
		Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: &none, Memory: &memory, Port: &port, Liveness: &process}},
		Env:       map[string]string{},
	}
	for _, kv := range environment(c) {
		name, value, _ := strings.Cut(kv, "=")
		spec.Env[name] = value
	}
	return spec
}

// try tests whether an external service is reached and accepts the log-in. One that does not is deleted again.
func (p *Provider) try(ctx context.Context, by cloud.Actor, kind *Kind, ref cloud.AppRef, made cloud.ReleaseRef) error {
	err := p.login(ctx, kind, made)
	if err == nil {
		return nil
	}
	_, gone := p.Store.Update(context.WithoutCancel(ctx), by, "delete-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		changes, err := s.DeleteService(ref, cloud.Stamp{At: p.Now()})
		if err != nil {
			return nil, err
		}
		return append(changes, s.Apply(s.Rev()+1, changes).PurgeService(ref)...), nil
	})
	if gone != nil {
		p.Log.Error("cannot remove an external service that does not answer", "service", ref.String(), "err", gone)
	}
	return cloud.Errorf(cloud.DeployFailed, "service %s was not created: %w", ref, err)
}

func (p *Provider) login(ctx context.Context, kind *Kind, r cloud.ReleaseRef) error {
	if kind.Login == "" {
		return nil
	}
	_, rel, err := p.Store.State().MustRelease(r)
	if err != nil {
		return err
	}
	service, err := p.Store.State().MustService(r.AppRef)
	if err != nil {
		return err
	}
	next := *service
	next.Current = r.N // the roll-out of a release without instances ends at once, but later than this
	return run(ctx, p.Commands, p.Views.View(), &next, call{command: kind.Login, about: external(rel)})
}

// Sessions returns how many sessions an account has at its service.
func (p *Provider) Sessions(ctx context.Context, a *cloud.Account) (int, error) {
	v := p.Views.View()
	service, err := v.State.MustService(a.AppRef)
	if err != nil {
		return 0, err
	}
	if service.Service.Brokered != nil {
		return 0, cloud.Errorf(cloud.Invalid, "sessions of %s are not counted", a.AppRef)
	}
	kind, err := KindOf(v.State, service.Service.Kind)
	if err != nil {
		return 0, err
	}
	if kind.Sessions == "" || service.Service.External {
		return 0, cloud.Errorf(cloud.Invalid, "sessions of %s are not counted", a.AppRef)
	}
	var out bytes.Buffer
	if err := run(ctx, p.Commands, v, service, call{command: kind.Sessions, about: a.Credentials, out: &out}); err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		return 0, cloud.Errorf(cloud.Internal, "the command that counts sessions of %s printed no number", a.AppRef)
	}
	return n, nil
}

// Shell returns the command line of a service's interactive client.
func (p *Provider) Shell(service *cloud.App) string {
	k, err := KindOf(p.Store.State(), service.Service.Kind)
	if err != nil || service.Service.Brokered != nil {
		return ""
	}
	return k.Shell
}

// Kinds returns all kinds of services.
func (p *Provider) Kinds() (all []api.ServiceKind) {
	for _, k := range Kinds(p.Store.State()) {
		all = append(all, api.ServiceKind{Name: k.Name, Title: k.Title, Variable: k.Variable, Default: k.Default, Images: k.Images})
	}
	return all
}

// AddKind returns the changes that add a kind, or change one that was added, and its name.
func (p *Provider) AddKind(s *cloud.State, text string) ([]cloud.Change, string, error) {
	k, err := ParseKind([]byte(text))
	if err != nil {
		return nil, "", err
	}
	if own[k.Name] != nil {
		return nil, "", cloud.Errorf(cloud.Conflict, "kind %s is micro's own", k.Name).WithHint("choose another name, for example my-%s", k.Name)
	}
	for _, other := range Kinds(s) {
		for _, scheme := range k.Schemes {
			if other.Name != k.Name && slices.Contains(other.Schemes, scheme) {
				return nil, "", cloud.Errorf(cloud.Conflict, "kind %s: URLs that begin with %s:// are of kind %s already", k.Name, scheme, other.Name).
					WithHint("leave %s out of schemes; micro service create external NAME --kind %s --url - works all the same", scheme, k.Name)
			}
		}
	}
	next := &cloud.ServiceKind{Name: k.Name, Text: text}
	if was, ok := s.ServiceKind(k.Name); ok {
		next.Images = was.Images
	}
	return []cloud.Change{cloud.Put(next)}, k.Name, nil
}

// SetImage returns the changes after which a version of a kind runs from an image.
func (p *Provider) SetImage(s *cloud.State, kind, version, image string) ([]cloud.Change, error) {
	if _, err := KindOf(s, kind); err != nil {
		return nil, err
	}
	if err := checkImage(version, image); err != nil {
		return nil, err
	}
	next := &cloud.ServiceKind{Name: kind, Images: map[string]string{version: image}}
	if was, ok := s.ServiceKind(kind); ok {
		next.Text, next.Images = was.Text, maps.Clone(was.Images)
		if next.Images == nil {
			next.Images = map[string]string{}
		}
		next.Images[version] = image
	}
	return []cloud.Change{cloud.Put(next)}, nil
}
