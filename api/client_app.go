package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Apps lists the apps of a group.
func (c *Client) Apps(ctx context.Context, g cloud.GroupName) ([]App, error) {
	return all[App](ctx, c, groupPath(g, "apps"), nil)
}

// CreateApp makes an app without a release.
func (c *Client) CreateApp(ctx context.Context, app cloud.AppRef) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, groupPath(app.Group, "apps"), nil, NewApp{Name: app.App})
}

// App shows an app.
func (c *Client) App(ctx context.Context, app cloud.AppRef) (App, error) {
	return call[App](ctx, c, http.MethodGet, appPath(app, ""), nil, nil)
}

// Delete removes an app with all that is its, or one release (N above 0) that nothing needs. An app's
// volumes go only where volumes asks for that.
func (c *Client) Delete(ctx context.Context, r cloud.ReleaseRef, volumes bool) (Changed, error) {
	path := appPath(r.AppRef, "")
	if r.N != 0 {
		path = releasePath(r, "")
	}
	query := url.Values{}
	if volumes {
		query.Set("volumes", "true")
	}
	return call[Changed](ctx, c, http.MethodDelete, path, query, nil)
}

// Releases lists an app's releases, the newest first.
func (c *Client) Releases(ctx context.Context, app cloud.AppRef) ([]Release, error) {
	return all[Release](ctx, c, appPath(app, "releases"), nil)
}

// Release shows a release; N must not be 0.
func (c *Client) Release(ctx context.Context, r cloud.ReleaseRef) (Release, error) {
	return call[Release](ctx, c, http.MethodGet, releasePath(r, ""), nil, nil)
}

// Diff says what sets two releases of an app apart.
func (c *Client) Diff(ctx context.Context, app cloud.AppRef, from, to int) ([]Difference, error) {
	q := values{}.num("from", from).num("to", to)
	list, err := call[List[Difference]](ctx, c, http.MethodGet, appPath(app, "diff"), url.Values(q), nil)
	return list.Items, err
}

// Env reads the environment of a release, of the current one for N 0; before there is one, what the app's
// next release starts with.
func (c *Client) Env(ctx context.Context, r cloud.ReleaseRef) (Env, error) {
	q := values{}.num("release", r.N)
	return call[Env](ctx, c, http.MethodGet, appPath(r.AppRef, "env"), url.Values(q), nil)
}

// Secret reads a secret of a release's environment. The audit log tells of it.
func (c *Client) Secret(ctx context.Context, r cloud.ReleaseRef, name string) (Secret, error) {
	q := values{}.num("release", r.N)
	return call[Secret](ctx, c, http.MethodGet, appPath(r.AppRef, "secrets/"+url.PathEscape(name)), url.Values(q), nil)
}

// SetEnv makes a release with another environment and begins the switch to it. An app without a current
// release keeps the change for its next one: then Changed has no release.
func (c *Client) SetEnv(ctx context.Context, app cloud.AppRef, e EnvChange) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(app, "env"), nil, e)
}

// Promote begins to make a release current.
func (c *Client) Promote(ctx context.Context, r cloud.ReleaseRef, force bool) (Changed, error) {
	return c.verb(ctx, "promote", r, force)
}

// Rollback begins to make release N current again, the one that was before for 0.
func (c *Client) Rollback(ctx context.Context, r cloud.ReleaseRef) (Changed, error) {
	return c.verb(ctx, "rollback", r, false)
}

// Restart replaces the instances of a release.
func (c *Client) Restart(ctx context.Context, r cloud.ReleaseRef) (Changed, error) {
	return c.verb(ctx, "restart", r, false)
}

// Stop ends the instances of a release, for N 0 all of the app's.
func (c *Client) Stop(ctx context.Context, r cloud.ReleaseRef, force bool) (Changed, error) {
	return c.verb(ctx, "stop", r, force)
}

// Start lets a stopped release run again.
func (c *Client) Start(ctx context.Context, r cloud.ReleaseRef) (Changed, error) {
	return c.verb(ctx, "start", r, false)
}

func (c *Client) verb(ctx context.Context, verb string, r cloud.ReleaseRef, force bool) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(r.AppRef, verb), nil, Verb{Release: r.N, Force: force})
}

// Scale changes how much of a release runs.
func (c *Client) Scale(ctx context.Context, app cloud.AppRef, s ScaleChange) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, appPath(app, "scale"), nil, s)
}

// Wait yields how far a release has come, until what is desired of it has come true: it is current, up,
// scaled, restarted or stopped. The last event is the outcome; a release that fails ends it with the error.
// After an Unavailable error without a Failure ask again, with the Switching of the last Rollout.
func (c *Client) Wait(ctx context.Context, r cloud.ReleaseRef, switching bool) iter.Seq2[WaitEvent, error] {
	return func(yield func(WaitEvent, error) bool) {
		ended := false
		for e, err := range stream[WaitEvent](ctx, c, http.MethodGet, releasePath(r, "wait"), url.Values(values{}.flag("switching", switching)), nil) {
			if e.Failure != nil {
				err = e.Failure.Err()
			}
			ended = ended || err != nil || e.Outcome != nil
			if !yield(e, err) {
				return
			}
		}
		if !ended {
			yield(WaitEvent{}, cloud.Errorf(cloud.Unavailable, "the stream broke off before release %s was ready", r))
		}
	}
}

// Instances lists instances of a group.
func (c *Client) Instances(ctx context.Context, g cloud.GroupName, q InstanceQuery) ([]Instance, error) {
	v := values{}.set("app", string(q.App)).num("release", q.Release).set("process", string(q.Process)).flag("stats", q.Stats)
	return all[Instance](ctx, c, groupPath(g, "instances"), url.Values(v))
}

// Logs yields lines of an app's log.
func (c *Client) Logs(ctx context.Context, q LogQuery) iter.Seq2[LogLine, error] {
	v := values{}.num("release", q.Release).set("process", string(q.Process)).set("instance", string(q.Instance)).
		set("after", q.After).time("since", q.Since).flag("follow", q.Follow)
	if q.Index != nil {
		v["index"] = []string{itoa(*q.Index)}
	}
	if q.Tail >= 0 {
		v["tail"] = []string{itoa(q.Tail)}
	}
	for _, s := range q.Streams {
		v["stream"] = append(v["stream"], string(s))
	}
	return stream[LogLine](ctx, c, http.MethodGet, appPath(q.App, "logs"), url.Values(v), nil)
}
