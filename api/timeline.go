package api

import (
	"context"
	"net/url"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TimelineEntry is a step of an app's way to production, or one back.
type TimelineEntry struct {
	Time    time.Time  `json:"time"`
	Kind    string     `json:"kind" doc:"push, env, failed, approved, rejected, locked, unlocked, promote, current, rollback, stop, start, delete, map, unmap, traffic, swap, share; of a cross-fade crossfade-started, -paused, -resumed, -finished, -aborted"`
	Release int        `json:"release,omitempty" doc:"Missing: the app as a whole"`
	Host    cloud.Host `json:"host,omitempty"`
	Path    string     `json:"path,omitempty"`
	By      string     `json:"by" doc:"Who did it; micro: the cloud itself, by a verdict or at the end of a roll-out"`
	Verdict string     `json:"verdict,omitempty" doc:"Of a cross-fade, when it ended"`
	Text    string     `json:"text,omitempty" doc:"What was said, or what happened, for a person"`
}

// Timeline shows what happened on an app's way to production, the oldest first. since is the zero time for all.
func (c *Client) Timeline(ctx context.Context, app cloud.AppRef, since time.Time) ([]TimelineEntry, error) {
	return all[TimelineEntry](ctx, c, appPath(app, "timeline"), url.Values(values{}.time("since", since)))
}
