package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

type brokerInput struct {
	Broker string `path:"broker" maxLength:"64" doc:"Name of the broker"`
}

type updateServiceInput struct {
	ServiceInput
	Body api.ServiceUpdate
}

// serveBrokers answers what is about service brokers.
func (h *Handler) serveBrokers() {
	get(h, operation("brokers", "GET /v1/brokers", "List the service brokers, with what they offer"),
		func(context.Context, *struct{}) (api.List[api.Broker], error) {
			var list []api.Broker
			for b := range h.Store.State().Brokers() {
				list = append(list, showBroker(b))
			}
			return whole(list), nil
		})
	get(h, operation("broker", "GET /v1/brokers/{broker}", "Show a service broker and what it offers"),
		func(_ context.Context, in *brokerInput) (api.Broker, error) {
			b, err := h.Store.State().MustBroker(in.Broker)
			if err != nil {
				return api.Broker{}, err
			}
			return showBroker(b), nil
		})
	get(h, operation("add-broker", "POST /v1/brokers", "Add a service broker, whose catalog is fetched"),
		func(ctx context.Context, in *struct{ Body api.NewBroker }) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			b := cloud.Broker{Name: in.Body.Name, URL: in.Body.URL, Username: in.Body.Username, Password: in.Body.Password}
			if _, err := h.Store.State().AddBroker(b, at); err != nil {
				return api.Changed{}, err
			}
			var err error
			if b.Catalog, err = h.Services.Catalog(ctx, &b); err != nil {
				return api.Changed{}, err
			}
			return h.update(ctx, "add-broker", b.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.AddBroker(b, at) })
		})
	get(h, operation("refresh-broker", "POST /v1/brokers/{broker}/refresh", "Fetch the catalog of a service broker again"),
		func(ctx context.Context, in *brokerInput) (api.Changed, error) {
			b, err := h.Store.State().MustBroker(in.Broker)
			if err != nil {
				return api.Changed{}, err
			}
			catalog, err := h.Services.Catalog(ctx, b)
			if err != nil {
				return api.Changed{}, err
			}
			n := 0
			return h.update(ctx, "refresh-broker", b.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RefreshBroker(b.Name, catalog, h.Now()) })
		})
	get(h, operation("remove-broker", "DELETE /v1/brokers/{broker}", "Forget a service broker, of which no service is left"),
		func(ctx context.Context, in *brokerInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "remove-broker", in.Broker, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveBroker(in.Broker) })
		})
	get(h, operation("update-service", "POST /v1/groups/{group}/services/{service}/update", "Ask a broker for another plan of a service, or other parameters; the service shows how that goes"),
		func(ctx context.Context, in *updateServiceInput) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			if err := h.Services.CheckParameters(in.Body.Parameters); err != nil {
				return api.Changed{}, err
			}
			return h.update(ctx, "update-service", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.UpdateBrokered(in.ref(), in.Body.Plan, in.Body.Parameters, at)
			})
		})
}

func showBroker(b *cloud.Broker) api.Broker {
	out := api.Broker{Name: b.Name, URL: b.URL, Username: b.Username, Created: b.Created, By: b.By, Fetched: b.Fetched, Offerings: []api.Offering{}}
	for _, o := range b.Catalog {
		shown := api.Offering{Name: api.Printable(o.Name), Description: api.Printable(o.Description), Tags: o.Tags, Plans: []api.Plan{}}
		for _, p := range o.Plans {
			shown.Plans = append(shown.Plans, api.Plan{
				Name: api.Printable(p.Name), Description: api.Printable(p.Description), Costs: p.Free != nil && !*p.Free, Bindable: o.CanBind(p), Updateable: o.CanUpdate(p),
			})
		}
		out.Offerings = append(out.Offerings, shown)
	}
	return out
}

// phaseOfBrokered says in a word how a broker's service is, and why it is not ready.
func phaseOfBrokered(b *cloud.Brokered) (phase, reason string) {
	switch {
	case b.Task != nil:
		words := map[cloud.BrokerVerb]string{
			cloud.BrokerProvision: "provisioning", cloud.BrokerUpdate: "updating", cloud.BrokerDeprovision: "deprovisioning", cloud.BrokerClean: "failed",
		}
		return words[b.Task.Do], b.Failure
	case !b.Made:
		return "failed", b.Failure
	case b.Unusable:
		return "unusable", b.Failure
	}
	return "ready", b.Failure
}
