package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// BindingOf is a binding of an instance.
type BindingOf struct {
	Instance
	Binding string // its ID
	App     string // identifies the app
	// Parameters are for the broker, nil for none.
	Parameters json.RawMessage
	// Predecessor is the binding that this one is the successor of, "" for none. The broker takes its parameters.
	Predecessor string
}

func (b BindingOf) below() string { return "/service_bindings/" + url.PathEscape(b.Binding) }

func hasCredentials(b body) bool { return b.Credentials != nil || b.SyslogDrain != "" }

// Bind makes a binding. It may be sent again.
func (c *Client) Bind(ctx context.Context, b BindingOf) Answer {
	content := map[string]any{
		"service_id": b.ServiceID, "plan_id": b.PlanID, "context": b.context(), "app_guid": b.App, "bind_resource": map[string]string{"app_guid": b.App},
	}
	switch {
	case b.Predecessor != "":
		content = map[string]any{"service_id": b.ServiceID, "plan_id": b.PlanID, "context": b.context(), "predecessor_binding_id": b.Predecessor}
	case len(b.Parameters) > 0:
		content["parameters"] = b.Parameters
	}
	return c.do(ctx, Bind, request{method: http.MethodPut, path: b.path(b.below()), query: b.incomplete(), body: content, by: b.By}, hasCredentials)
}

// Unbind deletes a binding.
func (c *Client) Unbind(ctx context.Context, b BindingOf) Answer {
	q := b.query("")
	q.Set("accepts_incomplete", "true")
	return c.do(ctx, Unbind, request{method: http.MethodDelete, path: b.path(b.below()), query: q, by: b.By}, anything)
}

// LastBindingOperation says how far a broker is with a binding.
func (c *Client) LastBindingOperation(ctx context.Context, v Verb, b BindingOf, operation string) Answer {
	return c.poll(ctx, v, b.Instance, b.below(), operation)
}

// Fetch returns what a bind has made that the broker carried out after its answer. Its outcome is Done, Accepted where the
// broker cannot say it now, or Orphaned.
func (c *Client) Fetch(ctx context.Context, b BindingOf) Answer {
	got, err := c.exchange(ctx, request{method: http.MethodGet, path: b.path(b.below()), query: b.query(""), by: b.By})
	if err != nil {
		return Answer{Outcome: Accepted, Reason: "the broker did not answer: " + err.Error()}
	}
	var made body
	switch {
	case got.status >= 500, got.status == http.StatusUnprocessableEntity, got.status == http.StatusTooManyRequests, got.status == http.StatusRequestTimeout:
		return Answer{Outcome: Accepted, Reason: reasonOf(got.status, parse(got.body)), RetryAfter: retryAfter(got.header)}
	case got.status != http.StatusOK:
		return Answer{Outcome: Orphaned, Reason: reasonOf(got.status, parse(got.body))}
	case json.Unmarshal(got.body, &made) != nil || !hasCredentials(made):
		return Answer{Outcome: Orphaned, Reason: "the broker made a binding without credentials"}
	}
	return Answer{Outcome: Done, Binding: &made.Binding}
}
