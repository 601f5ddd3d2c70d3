package handler

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Logs are the apps' lines.
type Logs interface {
	// Read yields lines, oldest first, across instances; with Follow until ctx ends. Reading on from a line's
	// Cursor starts behind that line. An error is the last thing that it yields.
	Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error]
}

// BuildLogs are what builds printed.
type BuildLogs interface {
	// BuildLog yields the output of the build that made a release's image.
	BuildLog(q api.LogQuery) (iter.Seq2[api.LogLine, error], error)
}

// Events are what happened in the cloud.
type Events interface {
	Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error]
}

// Rollouts make what is desired of a release come true.
type Rollouts interface {
	// Await yields a Rollout whenever it changed, then an Outcome or the error that ended the roll-out.
	// switching says that the app was switching to the release before, so that a release that has been given
	// up since is a failure.
	Await(ctx context.Context, ref cloud.ReleaseRef, switching bool) (iter.Seq2[api.WaitEvent, error], error)
}

// events registers an operation that answers with a stream of events. What open refuses is answered as
// any other error; an error that seq yields ends the stream. id is the event's, "" for none.
func events[I, T any](h *Handler, op huma.Operation, open func(context.Context, *I) (iter.Seq2[T, error], error), id func(T) string) {
	data := h.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events; the data of each is JSON. An event named error ends the stream with a problem.",
		Content:     map[string]*huma.MediaType{api.EventStream: {Schema: data}},
	}}
	serve(h, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		ctx, end := h.untilStopped(ctx)
		seq, err := open(ctx, in)
		if err != nil {
			end()
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer end()
			_, w := raw(hc)
			h.stream(ctx, w, erase(seq, id))
		}}, nil
	})
}

// event is one of a stream, with the errors that end one.
type event struct {
	id   string
	data any
	err  error
}

func erase[T any](seq iter.Seq2[T, error], id func(T) string) iter.Seq[event] {
	return func(yield func(event) bool) {
		for v, err := range seq {
			e := event{data: v, err: err}
			if err == nil {
				e.id = id(v)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// untilStopped is a context that ends with the request, when the node stops, or when the caller is no longer
// allowed what the request takes. Run waits until what is returned with it has been called.
func (h *Handler) untilStopped(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	h.streams.Add(2)
	done := make(chan struct{})
	go func() {
		defer h.streams.Done()
		select {
		case <-h.stopping:
			cancel(errStopping)
		case <-done:
		}
	}()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer h.streams.Done()
		if err := h.untilDenied(watching); err != nil {
			cancel(err)
		}
	}()
	h.streams.Add(1)
	return ctx, func() {
		close(done)
		stop()
		cancel(nil)
		h.streams.Done()
	}
}

// untilDenied returns why the caller may no longer go on with a request, nil where ctx ends first.
func (h *Handler) untilDenied(ctx context.Context) error {
	q := requestOf(ctx)
	if !q.until.IsZero() {
		var stop func()
		ctx, stop = context.WithDeadline(ctx, time.Now().Add(q.until.Sub(h.Now())))
		defer stop()
	}
	seen := h.Store.State().Rev()
	for {
		state := h.Views.AtLeast(ctx, seen+1).State
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return cloud.Errorf(cloud.Unauthenticated, "the token has expired").WithCommand("micro login")
		}
		if ctx.Err() != nil {
			return nil
		}
		seen = max(seen, state.Rev())
		if err := q.check(state); err != nil {
			return err
		}
	}
}

// ended is the error that a stream whose context has ended is ended with: nil where the client left.
func ended(ctx context.Context) error {
	if e, ok := errors.AsType[*cloud.Error](context.Cause(ctx)); ok {
		return e
	}
	return nil
}

var errStopping = cloud.Errorf(cloud.Unavailable, "the node is stopping").WithHint("it goes on when the node is back")

// stream sends events until there are no more, the client is gone or ctx ends. In between it sends
// comments: a client that is gone is noticed by them.
func (h *Handler) stream(ctx context.Context, w http.ResponseWriter, seq iter.Seq[event]) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	events := make(chan event)
	go func() {
		defer close(events)
		for e := range seq {
			select {
			case events <- e:
			case <-reading.Done():
				return
			}
		}
	}()
	// The reader ends before the request does: it may use what belongs to it.
	defer func() {
		stop()
		for range events {
		}
	}()
	out := api.NewEventWriter(w)
	quiet := time.NewTicker(api.KeepAlive)
	defer quiet.Stop()
	for {
		var err error
		select {
		case e, ok := <-events:
			switch {
			case (!ok || e.err != nil) && ended(ctx) != nil:
				_ = out.Fail(api.ProblemOf(ended(ctx)))
				return
			case !ok:
				return
			case e.err != nil:
				// A failure to tell shows itself: the stream ends without an outcome.
				_ = out.Fail(h.problem(ctx, e.err))
				return
			}
			err = out.Send(e.id, e.data)
		case <-quiet.C:
			err = out.Comment()
		case <-ctx.Done():
			if err := ended(ctx); err != nil {
				_ = out.Fail(api.ProblemOf(err))
			}
			return
		}
		if err != nil {
			return // the client is gone
		}
	}
}

type logsInput struct {
	AppInput
	Release  int               `query:"release" minimum:"0" doc:"Missing: all"`
	Process  cloud.ProcessName `query:"process" maxLength:"64" doc:"Missing: all"`
	Index    int               `query:"index" minimum:"-1" default:"-1" doc:"Of the instance; missing: all"`
	Instance cloud.InstanceID  `query:"instance" maxLength:"64" doc:"Missing: all"`
	Stream   []api.LogStream   `query:"stream,explode" maxItems:"4" doc:"app, router, build, api; missing: app"`
	Since    time.Time         `query:"since" doc:"Not before"`
	After    string            `query:"after" maxLength:"1000" doc:"Cursor of a line: go on behind it"`
	Tail     int               `query:"tail" minimum:"-1" default:"-1" doc:"No more than the last so many lines"`
	Follow   bool              `query:"follow" doc:"Go on with new lines"`
}

type eventsInput struct {
	Group  cloud.GroupName `query:"group" maxLength:"64" doc:"Missing: all"`
	App    cloud.AppName   `query:"app" maxLength:"64" doc:"Missing: all"`
	Since  time.Time       `query:"since" doc:"Not before"`
	After  string          `query:"after" maxLength:"1000" doc:"Cursor of an event: go on behind it"`
	Tail   int             `query:"tail" minimum:"-1" default:"-1" doc:"No more than the last so many"`
	Follow bool            `query:"follow" doc:"Go on with new ones"`
}

func (h *Handler) serveStreams() {
	events(h, operation("logs", "GET /v1/groups/{group}/apps/{app}/logs", "Read what an app logged"),
		func(ctx context.Context, in *logsInput) (iter.Seq2[api.LogLine, error], error) {
			s := h.Store.State()
			if _, err := s.MustApp(in.ref()); err != nil {
				return nil, err
			}
			if in.Release != 0 {
				if _, _, err := s.MustRelease(in.ref().Release(in.Release)); err != nil {
					return nil, err
				}
			}
			if err := logsProcess(s, in.ref().Release(in.Release), in.Process); err != nil {
				return nil, err
			}
			q := api.LogQuery{
				App: in.ref(), Release: in.Release, Process: in.Process, Instance: in.Instance, Streams: in.Stream,
				Since: in.Since, After: in.After, Tail: in.Tail, Follow: in.Follow,
			}
			if in.Index >= 0 {
				q.Index = &in.Index
			}
			return h.logs(ctx, q)
		},
		func(l api.LogLine) string { return l.Cursor })
	events(h, operation("events", "GET /v1/events", "Read what happened, and what happens"),
		func(ctx context.Context, in *eventsInput) (iter.Seq2[api.Event, error], error) {
			if in.Group != "" {
				if err := h.require(ctx, cloud.MayRead, cloud.Scope{Group: in.Group, App: in.App}); err != nil {
					return nil, err
				}
				if err := mustGroup(h.Store.State(), in.Group); err != nil {
					return nil, err
				}
			}
			if err := h.mustHaveEvents(ctx, in.Group, in.App); err != nil {
				return nil, err
			}
			return h.visibleEvents(ctx, h.Events.Read(ctx, api.EventQuery{
				Group: in.Group, App: in.App, Since: in.Since, After: in.After, Tail: in.Tail, Follow: in.Follow,
			})), nil
		},
		func(e api.Event) string { return e.Cursor })
	events(h, operation("wait", "GET /v1/groups/{group}/apps/{app}/releases/{release}/wait", "Wait until a release runs as it is desired to"),
		func(ctx context.Context, in *struct {
			ReleaseInput
			Switching bool `query:"switching" doc:"Going on with a wait: the last rollout event had switching"`
		}) (iter.Seq2[api.WaitEvent, error], error) {
			ref, err := in.ref()
			if err != nil {
				return nil, err
			}
			seq, err := h.Rollouts.Await(ctx, ref, in.Switching)
			if err != nil {
				return nil, err
			}
			return h.waitEvents(ctx, seq), nil
		},
		func(api.WaitEvent) string { return "" })
}

// visibleEvents yields the events that the caller may see when they happen: those of the cloud as a whole are
// for who may read all of it.
func (h *Handler) visibleEvents(ctx context.Context, seq iter.Seq2[api.Event, error]) iter.Seq2[api.Event, error] {
	by := requestOf(ctx).actor
	return func(yield func(api.Event, error) bool) {
		for e, err := range seq {
			scope := cloud.Scope{Group: e.Group, App: e.App}
			if err == nil && h.Store.State().May(by, cloud.MayRead, scope) != nil {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// mustHaveEvents refuses an app that is not there and of which nothing is told either: one that was deleted has events.
func (h *Handler) mustHaveEvents(ctx context.Context, g cloud.GroupName, app cloud.AppName) error {
	if app == "" {
		return nil
	}
	_, err := h.Store.State().MustApp(cloud.AppRef{Group: g, App: app})
	if err == nil {
		return nil
	}
	for range h.Events.Read(ctx, api.EventQuery{Group: g, App: app, Tail: 1}) {
		return nil
	}
	return err
}

// logsProcess refuses a process that the release does not have: any of the app's for release 0.
func logsProcess(s *cloud.State, r cloud.ReleaseRef, name cloud.ProcessName) error {
	if name == "" {
		return nil
	}
	all := map[cloud.ProcessName]bool{}
	for rel := range s.Releases(r.AppRef) {
		if r.N != 0 && r.N != rel.N {
			continue
		}
		for p := range rel.Spec.Processes {
			all[p] = true
		}
		if len(rel.Spec.Cron) > 0 {
			all[runtime.Cron] = true
		}
	}
	if all[name] {
		return nil
	}
	what := "app " + r.AppRef.String()
	if r.N != 0 {
		what = "release " + r.String()
	}
	return cloud.Errorf(cloud.NotFound, "%s has no process %q, only %v", what, name, slices.Sorted(maps.Keys(all))).WithCommand("micro app %s", r.AppRef)
}

// logs reads the streams that q asks for.
func (h *Handler) logs(ctx context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	build := false
	for _, s := range q.Streams {
		switch s {
		case api.StreamApp, api.StreamRouter, api.StreamAPI:
		case api.StreamBuild:
			build = true
		default:
			return nil, cloud.Errorf(cloud.Invalid, "unknown log stream %q", s).WithHint("the streams are app, router, build and api")
		}
	}
	if !build {
		return h.Logs.Read(ctx, q), nil
	}
	if len(q.Streams) > 1 {
		return nil, cloud.Errorf(cloud.Invalid, "the build's output can't be mixed with other streams").WithHint("ask for build alone")
	}
	return h.BuildLogs.BuildLog(q)
}

// waitEvents yields how far a release has come, and last how it ended. An error of the roll-out is an event
// of its own, so that a reader can tell it from a stream that broke off.
func (h *Handler) waitEvents(ctx context.Context, seq iter.Seq2[api.WaitEvent, error]) iter.Seq2[api.WaitEvent, error] {
	return func(yield func(api.WaitEvent, error) bool) {
		for e, err := range seq {
			switch {
			case err != nil && ctx.Err() != nil:
				err = ctx.Err()
			case err != nil:
				e, err = api.WaitEvent{Failure: h.problem(ctx, err)}, nil
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
