package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Instance is a service at its broker.
type Instance struct {
	Ref       cloud.AppRef
	ID        string
	ServiceID string
	PlanID    string
	By        string // who is the reason of the request, "" for nobody
	// Maintenance is the version that the service runs on, "" if it is not known.
	Maintenance string
}

// maintenance is a version as requests have it.
func maintenance(version string) map[string]string { return map[string]string{"version": version} }

// context is what the broker is told of the platform.
func (i Instance) context() map[string]string {
	return map[string]string{"platform": Platform, "group": string(i.Ref.Group), "instance_name": string(i.Ref.App)}
}

func (i Instance) path(below string) string {
	return "/v2/service_instances/" + url.PathEscape(i.ID) + below
}

// query names service and plan, as requests without a body need.
func (i Instance) query(operation string) url.Values {
	q := url.Values{"service_id": {i.ServiceID}, "plan_id": {i.PlanID}}
	if operation != "" {
		q.Set("operation", operation)
	}
	return q
}

func (i Instance) incomplete() url.Values { return url.Values{"accepts_incomplete": {"true"}} }

func anything(body) bool { return true }

// Provision makes an instance, with i.Maintenance. It may be sent again.
func (c *Client) Provision(ctx context.Context, i Instance, parameters json.RawMessage) Answer {
	content := map[string]any{
		"service_id": i.ServiceID, "plan_id": i.PlanID, "context": i.context(),
		"organization_guid": string(i.Ref.Group), "space_guid": string(i.Ref.Group),
	}
	if len(parameters) > 0 {
		content["parameters"] = parameters
	}
	if i.Maintenance != "" {
		content["maintenance_info"] = maintenance(i.Maintenance)
	}
	return c.do(ctx, Provision, request{method: http.MethodPut, path: i.path(""), query: i.incomplete(), body: content, by: i.By}, anything)
}

// Change is what is to become different about an instance. What is empty stays.
type Change struct {
	PlanID      string
	Maintenance string
	Parameters  json.RawMessage
}

// Update changes an instance.
func (c *Client) Update(ctx context.Context, i Instance, to Change) Answer {
	previous := map[string]any{"plan_id": i.PlanID, "service_id": i.ServiceID, "organization_id": string(i.Ref.Group), "space_id": string(i.Ref.Group)}
	if i.Maintenance != "" {
		previous["maintenance_info"] = maintenance(i.Maintenance)
	}
	content := map[string]any{"service_id": i.ServiceID, "context": i.context(), "previous_values": previous}
	if to.PlanID != "" {
		content["plan_id"] = to.PlanID
	}
	if to.Maintenance != "" {
		content["maintenance_info"] = maintenance(to.Maintenance)
	}
	if len(to.Parameters) > 0 {
		content["parameters"] = to.Parameters
	}
	return c.do(ctx, Update, request{method: http.MethodPatch, path: i.path(""), query: i.incomplete(), body: content, by: i.By}, anything)
}

// Deprovision deletes an instance.
func (c *Client) Deprovision(ctx context.Context, i Instance) Answer {
	q := i.query("")
	q.Set("accepts_incomplete", "true")
	return c.do(ctx, Deprovision, request{method: http.MethodDelete, path: i.path(""), query: q, by: i.By}, anything)
}

// LastOperation says how far a broker is with what it has accepted. Accepted means that it still works, also if it cannot be
// asked now.
func (c *Client) LastOperation(ctx context.Context, v Verb, i Instance, operation string) Answer {
	return c.poll(ctx, v, i, "", operation)
}

// poll asks about the last operation of an instance, or below it of a binding.
func (c *Client) poll(ctx context.Context, v Verb, i Instance, below, operation string) Answer {
	got, err := c.exchange(ctx, request{method: http.MethodGet, path: i.path(below + "/last_operation"), query: i.query(operation), by: i.By})
	if err != nil {
		return Answer{Outcome: Accepted, Operation: operation, Reason: "the broker did not say how far it is: " + err.Error()}
	}
	a := Answer{Outcome: Accepted, Operation: operation, status: got.status, RetryAfter: retryAfter(got.header)}
	b := parse(got.body)
	switch {
	case got.status == http.StatusGone && v.deletes():
		a.Outcome = Done
	case got.status != http.StatusOK:
		a.Reason = reasonOf(got.status, b)
	case b.State == "succeeded":
		a.Outcome = Done
	case b.State == "failed":
		a.Outcome, a.Unusable = Orphaned, b.InstanceUsable != nil && !*b.InstanceUsable
		if v == Update {
			a.Outcome = Failed
		}
		if a.Reason = printable(b.Description, 500); a.Reason == "" {
			a.Reason = "the broker says that it failed"
		}
	case b.State != "in progress":
		a.Reason = "the broker did not say how far it is"
	default:
		a.Reason = printable(b.Description, 500)
	}
	return a
}
