package child

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/moby/buildkit/client"
	digest "github.com/opencontainers/go-digest"

	"github.com/protoduction/micro/runtime"
)

const (
	tailLines = 20
	tailBytes = 8 << 10
)

// track follows the steps of a build. It reports changes, and keeps what is needed to explain a failure.
type track struct {
	report func(runtime.Progress)
	steps  map[digest.Digest]*step
	failed *step // the first failed step
}

type step struct {
	name  string
	error string
	tail  []byte // its last output
}

func newTrack(report func(runtime.Progress)) *track {
	return &track{report: report, steps: map[digest.Digest]*step{}}
}

func (t *track) step(d digest.Digest) *step {
	s := t.steps[d]
	if s == nil {
		s = &step{}
		t.steps[d] = s
	}
	return s
}

func (t *track) update(st *client.SolveStatus) {
	for _, l := range st.Logs {
		s := t.step(l.Vertex)
		s.tail = append(s.tail, l.Data...)
		if len(s.tail) > 2*tailBytes {
			s.tail = append(s.tail[:0], s.tail[len(s.tail)-tailBytes:]...)
		}
	}
	for _, v := range st.Vertexes {
		s := t.step(v.Digest)
		s.name = v.Name
		if v.Error != "" && s.error == "" {
			s.error = v.Error
			if t.failed == nil {
				t.failed = s
			}
		}
		t.report(runtime.Progress{ID: v.Digest.String(), Name: v.Name, Started: v.Started, Ended: v.Completed, Cached: v.Cached, Error: causeIn(v.Error)})
	}
	for _, s := range st.Statuses {
		t.report(runtime.Progress{ID: s.Vertex.String() + "/" + s.ID, Name: s.ID, Started: s.Started, Ended: s.Completed, Current: s.Current, Total: s.Total})
	}
	for _, l := range st.Logs {
		t.report(runtime.Progress{ID: l.Vertex.String(), Log: l.Data, LogToErr: l.Stream == 2})
	}
	for _, w := range st.Warnings {
		t.warn(string(w.Short))
	}
}

// warn reports a likely mistake that does not fail the build.
func (t *track) warn(text string) {
	now := time.Now()
	t.report(runtime.Progress{ID: "warning " + text, Name: "warning: " + text, Started: &now, Ended: &now})
}

// last returns the last lines of a step's output.
func (s *step) last() string {
	out := bytes.TrimRight(s.tail, "\r\n")
	if len(out) > tailBytes {
		out = out[len(out)-tailBytes:]
		for len(out) > tailBytes-utf8.UTFMax && !utf8.RuneStart(out[0]) {
			out = out[1:] // incomplete UTF-8 character
		}
	}
	lines := bytes.Split(out, []byte("\n"))
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
