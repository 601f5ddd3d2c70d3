package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// body is an answer in JSON.
type body[T any] struct{ Body T }

// operation begins an operation: an ID that the policy has, "METHOD /path", and what it does.
func operation(id, route, summary string) huma.Operation {
	method, path, _ := strings.Cut(route, " ")
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: api.MaxBody}
}

// serve registers an operation that answers in JSON.
func serve[I, O any](h *Handler, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	r, ok := policy[op.OperationID]
	if !ok {
		h.faults = append(h.faults, fmt.Errorf("the operation %q has no entry in the policy", op.OperationID))
		return
	}
	h.used[op.OperationID] = true
	op.BodyReadTimeout = r.read
	if r.read == 0 {
		op.BodyReadTimeout = bodyTimeout
	}
	if r.in == "" {
		h.faults = append(h.faults, fmt.Errorf("the policy does not say what the operation %q is about", op.OperationID))
		return
	}
	if _, ok := any(new(I)).(scoped); !ok && r.in.narrow() {
		h.faults = append(h.faults, fmt.Errorf("the operation %q is about a %s, and its input does not say which", op.OperationID, r.in))
		return
	}
	op.Extensions = map[string]any{"x-micro-permission": r.needs, "x-micro-scope": r.in, "x-micro-role": r.needs.LeastRole()}
	op.Middlewares = huma.Middlewares{h.guard(r)}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "What went wrong",
		Content: map[string]*huma.MediaType{
			api.ProblemType: {Schema: h.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "")},
		},
	}
	huma.Register(h.api, op, func(ctx context.Context, in *I) (*O, error) {
		q := requestOf(ctx)
		q.noDeadline()
		state := h.Store.State()
		q.need(needsOf(r, in, state)...)
		if err := q.check(state); err != nil {
			h.refused(q, op.OperationID, err)
			return nil, h.failure(ctx, err)
		}
		out, err := f(ctx, in)
		if err != nil {
			h.refused(q, op.OperationID, err)
			return nil, h.failure(ctx, err)
		}
		return out, nil
	})
}

// get, and the like, are operations whose answer is a value.
func get[I, T any](h *Handler, op huma.Operation, f func(context.Context, *I) (T, error)) {
	serve(h, op, func(ctx context.Context, in *I) (*body[T], error) {
		v, err := f(ctx, in)
		return &body[T]{v}, err
	})
}

// guard lets through whom the rule may allow, once the node is ready. What a request is about shows when it is
// decoded; whom it may not be for in any case is refused before its body is read.
func (h *Handler) guard(r rule) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		q := requestOf(hc.Context())
		q.in = r.in
		err := h.allow(q, r, hc)
		if err == nil {
			err = h.mayByToken(h.Store.State(), q.actor, hc.Operation().OperationID, r)
		}
		if err != nil {
			h.refused(q, hc.Operation().OperationID, err)
			if r.read == uploadTimeout {
				q.uploadOf() // a client that sends on must still hear why it is refused
			}
			h.refuse(q, err)
			return
		}
		if n := h.Status.Info(); !r.early && !n.Ready {
			h.refuse(q, cloud.Errorf(cloud.Unavailable, "node %s is not ready: %s", n.Name, n.Waiting).WithCommand("micro doctor"))
			return
		}
		next(tabled{hc})
	}
}

// allow reports what is known to keep a caller from an operation before its input is decoded.
func (h *Handler) allow(q *request, r rule, hc huma.Context) error {
	s := h.Store.State()
	switch r.in {
	case byAnyone:
		return nil
	case anywhere, ofOwn:
		return q.check(s)
	case inCloud:
		q.need(need{r.needs, cloud.Scope{}})
		return q.check(s)
	case ofPush:
		if err := q.check(s); err != nil {
			return err
		}
		return h.allowPush(q, r.needs, hc.Param("id"))
	case inGroup, inApp, inRelease, inHost:
		if err := q.check(s); err != nil {
			return err
		}
		scope := cloud.Scope{Group: cloud.GroupName(hc.Param("group")), App: cloud.AppName(hc.Param("app"))}
		if err := s.May(q.actor, cloud.MayRead, scope); err != nil || scope.Group == "" {
			return err
		}
		if hc.Param("app") == "" {
			return nil // a token for one app may be shown for it
		}
		return s.MayAtLeast(q.actor, r.needs, scope)
	}
	return cloud.Errorf(cloud.Denied, "unknown area %q", r.in)
}

// tabled answers with none but the statuses that codes stand for: huma has more.
type tabled struct{ humaContext }

type humaContext = huma.Context // whose own name is a method's

// Unwrap lets humago find its own.
func (t tabled) Unwrap() huma.Context { return t.humaContext }

func (t tabled) SetStatus(status int) {
	if status >= http.StatusBadRequest {
		status = api.CodeOfStatus(status).Status()
	}
	t.humaContext.SetStatus(status)
}

// failure is an error on its way to a client.
type failure struct{ *api.Problem }

var (
	_ huma.StatusError       = failure{}
	_ huma.ContentTypeFilter = failure{}
)

func (f failure) GetStatus() int            { return f.Status }
func (f failure) Error() string             { return f.Detail }
func (f failure) ContentType(string) string { return api.ProblemType }

func (h *Handler) failure(ctx context.Context, err error) error {
	return failure{h.problem(ctx, err)}
}

// problem describes an error to a client, and to the log where it is a fault of ours.
func (h *Handler) problem(ctx context.Context, err error) *api.Problem {
	q := requestOf(ctx)
	p := api.ProblemOf(err)
	p.RequestID = q.id
	if p.Code == cloud.Internal {
		h.Log.Error("a request failed", "method", q.r.Method, "path", q.r.URL.Path, "by", q.actor.Name, "request", q.id, "err", err)
	}
	return p
}

// convertProblem converts huma's errors about the input to our problems.
func convertProblem(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	const most = 20
	lines := []string{}
	for i, d := range e.Errors {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Errors)-most))
			break
		}
		if d == nil {
			continue
		}
		line := d.Message
		if d.Location != "" {
			line = d.Location + ": " + line
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		lines = []string{e.Detail}
	}
	return api.ProblemOf(cloud.Errorf(api.CodeOfStatus(e.Status), "%s", strings.Join(lines, "\n"))), nil
}

// description is the head of the OpenAPI document, and how huma is to work.
func description(version string) huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[cloud.Duration](), reflect.TypeFor[string]())
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "micro",
				Version:     version,
				Description: "The API of a micro cloud. Errors are problem documents (RFC 9457) with a stable code.",
			},
			Components: &huma.Components{Schemas: registry},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{convertProblem},
	}
}

// schemaName is a type's name, which two types must not have.
func schemaName(t reflect.Type, hint string) string {
	named := t
	for named.Kind() == reflect.Pointer {
		named = named.Elem()
	}
	switch named {
	case reflect.TypeFor[cloud.Check]():
		return "HealthCheck" // api.Check is doctor's
	case reflect.TypeFor[cloud.Sticky]():
		return "RouteSticky" // of a manifest; api.Sticky is in answers
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// serveOpenAPI serves the document. It is written anew each time: it is asked for rarely, and takes
// more room than all else here.
func (h *Handler) serveOpenAPI() {
	op := operation("openapi", "GET /v1/openapi.json", "This document")
	serve(h, op, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "application/openapi+json")
			doc, err := json.Marshal(h.api.OpenAPI())
			if err != nil {
				panic(err)
			}
			// A client that is gone needs no document.
			_, _ = hc.BodyWriter().Write(doc)
		}}, nil
	})
	// huma describes errors that never leave: ours does instead.
	delete(h.api.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(h.api.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
}

// raw is the request and the writer below a huma context.
func raw(hc huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(hc) }

// stamp is who changes something, and when.
func (h *Handler) stamp(ctx context.Context) cloud.Stamp {
	return cloud.Stamp{At: h.Now().UTC().Truncate(time.Millisecond), By: requestOf(ctx).actor.Name}
}
