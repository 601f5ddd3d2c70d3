package handler

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Services are backing services.
type Services interface {
	// Create creates a service, if check lets it, and returns its release and the revision that has it.
	Create(ctx context.Context, by cloud.Actor, g cloud.GroupName, want api.NewService, check func(*cloud.State, []cloud.Change) error) (cloud.ReleaseRef, cloud.Revision, error)
	// Sessions returns how many sessions an account has.
	Sessions(ctx context.Context, a *cloud.Account) (int, error)
	// Shell returns the command line of a service's interactive client.
	Shell(service *cloud.App) string
	Kinds() []api.ServiceKind
	// AddKind returns the changes that add the kind of a file, and its name.
	AddKind(s *cloud.State, text string) ([]cloud.Change, string, error)
	// Catalog asks a broker what it offers.
	Catalog(ctx context.Context, b *cloud.Broker) ([]cloud.Offering, error)
	// CheckParameters reports what is wrong with parameters for a broker.
	CheckParameters(text json.RawMessage) error
	// SetImage returns the changes after which a version of a kind runs from an image.
	SetImage(s *cloud.State, kind, version, image string) ([]cloud.Change, error)
}

// ServiceInput names a service.
type ServiceInput struct {
	GroupInput
	Service cloud.AppName `path:"service" maxLength:"64" doc:"Name of the service"`
}

func (in ServiceInput) ref() cloud.AppRef { return cloud.AppRef{Group: in.Group, App: in.Service} }

func (in ServiceInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.Service}}
}

type newServiceInput struct {
	GroupInput
	Body api.NewService
}

func (in newServiceInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.Body.Name}}
}

func (h *Handler) serveServices() {
	get(h, operation("services", "GET /v1/groups/{group}/services", "List the services of a group by name, the deleted ones too"),
		func(ctx context.Context, in *struct {
			GroupInput
			Paging
		}) (api.List[api.Service], error) {
			v := h.view(ctx)
			if err := mustGroup(v.State, in.Group); err != nil {
				return api.List[api.Service]{}, err
			}
			sees := h.sees(ctx)
			visible := filter(v.State.Services(in.Group), func(a *cloud.App) bool { return sees(a.AppRef) })
			key := func(a *cloud.App) string { return string(a.App) }
			return page(visible, in.Paging, key, func(a *cloud.App) api.Service { return h.service(v, a) }), nil
		})
	get(h, operation("service", "GET /v1/groups/{group}/services/{service}", "Show a service, with the sessions of its accounts"),
		func(ctx context.Context, in *ServiceInput) (api.Service, error) {
			v := h.view(ctx)
			app, err := v.State.MustService(in.ref())
			if err != nil {
				return api.Service{}, err
			}
			out := h.service(v, app)
			h.countSessions(ctx, v, app, out.Accounts)
			return out, nil
		})
	get(h, operation("create-service", "POST /v1/groups/{group}/services", "Create a service; wait for its release to see it ready"),
		func(ctx context.Context, in *newServiceInput) (api.Changed, error) {
			q := requestOf(ctx)
			ref, rev, err := h.Services.Create(ctx, q.actor, in.Group, in.Body, q.checked)
			return api.Changed{Revision: rev, Release: ref.N}, err
		})
	get(h, operation("delete-service", "DELETE /v1/groups/{group}/services/{service}", "Stop a service; its data is kept for a week"),
		func(ctx context.Context, in *struct {
			ServiceInput
			Now bool `query:"now" doc:"Of a broker's service: delete it at once"`
		}) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			return h.update(ctx, "delete-service", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				if in.Now {
					return s.DeprovisionService(in.ref(), at)
				}
				return s.DeleteService(in.ref(), at)
			})
		})
	get(h, operation("undelete-service", "POST /v1/groups/{group}/services/{service}/undelete", "Bring a deleted service back"),
		func(ctx context.Context, in *ServiceInput) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			return h.update(ctx, "undelete-service", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				changes, ref, err := s.UndeleteService(in.ref(), at)
				n = ref.N
				return changes, err
			})
		})
}

// service shows a service.
func (h *Handler) service(v cloud.View, app *cloud.App) api.Service {
	svc := app.Service
	out := api.Service{
		Group: app.Group, Name: app.App, Kind: svc.Kind, Version: svc.Version, Created: app.Created, Release: current(v.State, app.Release(0)),
		Production: svc.Production, External: svc.External, Shell: h.Services.Shell(app), Accounts: []api.Account{}, Deleted: svc.Deleted,
	}
	if svc.Deleted != nil {
		until := svc.Deleted.Add(cloud.DeletedFor)
		out.Until = &until
	}
	rel, ok := v.State.Release(app.Release(out.Release))
	out.Phase, out.Reason = h.phaseOfService(v, app, rel)
	if ok && !svc.External {
		out.Port, out.Memory = rel.Spec.Processes[cloud.Web].Port, rel.Formation[cloud.Web].Memory
		out.Host = string(app.App) + "." + string(app.Group) + ".internal"
	}
	if b := svc.Brokered; b != nil {
		out.Broker, out.Dashboard, out.Maintenance = b.Broker, api.Printable(b.Dashboard), api.Printable(b.Maintenance)
		if to, ok := v.State.UpgradeTo(svc); ok {
			out.UpgradeTo, out.UpgradeNote = api.Printable(to.Version), api.Printable(to.Description)
		}
		if svc.Purging {
			out.Until = nil
		}
	}
	for a := range v.State.AccountsAt(app.AppRef) {
		out.Accounts = append(out.Accounts, account(v.State, a))
	}
	h.showBackups(v.State, app, &out)
	return out
}

// phaseOfService says in a word how a service is, and why it is not ready.
func (h *Handler) phaseOfService(v cloud.View, app *cloud.App, rel *cloud.Release) (phase, reason string) {
	switch {
	case app.Service.Deleted != nil && !app.Service.Purging:
		return "deleted", ""
	case app.Service.Brokered != nil:
		return phaseOfBrokered(app.Service.Brokered)
	case rel == nil:
		rel, _ = v.State.Release(app.Release(app.Last))
		if rel != nil && rel.Failure != nil {
			return "failed", rel.Failure.Reason
		}
		return "failed", "it has no release"
	case app.Service.External:
		return "external", ""
	case rel.Failure != nil:
		return "failed", rel.Failure.Reason
	case rel.Stopped:
		return "stopped", ""
	case len(v.Pool(rel.ReleaseRef)) > 0:
		return "ready", ""
	}
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		reason = i.Reason
	}
	return "starting", reason
}

func account(s *cloud.State, a *cloud.Account) api.Account {
	out := api.Account{App: a.Client, User: a.Credentials.User, Phase: "waiting", Created: a.Created, Releases: []int{}}
	switch {
	case a.Ending:
		out.Phase = "ending"
	case a.Made:
		out.Phase = "ready"
	}
	if a.Broker != nil && !a.Broker.Expires.IsZero() {
		out.Expires = &a.Broker.Expires
	}
	for rel := range s.Releases(a.ClientRef()) {
		if s.Runs(rel) && slices.ContainsFunc(rel.Spec.Bindings, func(b cloud.Binding) bool { return b.Service == a.App && b.Account == a.N }) {
			out.Releases = append(out.Releases, rel.N)
		}
	}
	return out
}

// countSessions asks the service how many sessions each account has. One that cannot say has none to show.
func (h *Handler) countSessions(ctx context.Context, v cloud.View, app *cloud.App, shown []api.Account) {
	i := 0
	for a := range v.State.AccountsAt(app.AppRef) {
		if n, err := h.Services.Sessions(ctx, a); err == nil && i < len(shown) {
			shown[i].Sessions = &n
		}
		i++
	}
}
