package node

import (
	"context"
	"iter"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/logs"
)

// logReader gives the API access to the node's logs.
type logReader struct{ logs *logs.Logs }

func (l logReader) Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error] {
	streams := q.Streams
	if len(streams) == 0 {
		streams = []api.LogStream{api.StreamApp}
	}
	match := func(line logs.Line) bool {
		return slices.Contains(streams, api.LogStream(line.Stream)) &&
			(q.Release == 0 || line.Release == q.Release) &&
			(q.Process == "" || line.Process == q.Process) &&
			(q.Instance == "" || line.Instance == q.Instance) &&
			(q.Index == nil || line.Index == *q.Index) &&
			!line.Time.Before(q.Since)
	}
	return func(yield func(api.LogLine, error) bool) {
		for line, err := range l.logs.Read(ctx, logs.Query{App: q.App, Match: match, After: q.After, Tail: q.Tail, Follow: q.Follow, NoRequests: !slices.Contains(streams, api.StreamRouter)}) {
			if !yield(logLine(q.App, line), err) {
				return
			}
		}
	}
}

func logLine(app cloud.AppRef, l logs.Line) api.LogLine {
	return api.LogLine{
		Time: l.Time, Group: app.Group, App: app.App, Release: l.Release, Process: l.Process, Index: l.Index,
		Instance: l.Instance, Stream: api.LogStream(l.Stream), Text: l.Text, Cursor: l.Cursor,
	}
}
