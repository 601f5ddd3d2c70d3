package cloud

import (
	"fmt"
	"slices"
	"time"
)

// NoticeKind says what a notice is about.
type NoticeKind string

// The kinds of notices.
const (
	NoticeFailed   NoticeKind = "failed" // a release did not become ready
	NoticeApproved NoticeKind = "approved"
	NoticeRejected NoticeKind = "rejected"
	NoticeStarted  NoticeKind = "crossfade-started"
	NoticeFinished NoticeKind = "crossfade-finished"
	NoticeAborted  NoticeKind = "crossfade-aborted"
	NoticeBackup   NoticeKind = "backup-failed" // a scheduled one
)

// NoticeKinds returns every kind.
func NoticeKinds() []NoticeKind {
	return []NoticeKind{NoticeFailed, NoticeApproved, NoticeRejected, NoticeStarted, NoticeFinished, NoticeAborted, NoticeBackup}
}

// Notice is something that people want to be told of.
type Notice struct {
	ID      string // the same whenever it is told
	Time    time.Time
	Kind    NoticeKind
	App     AppRef
	Release int
	Host    Host // of a cross-fade
	Path    string
	By      string
	Verdict string // of a cross-fade, when it ended
	Text    string // a sentence
}

// Notices returns what happened to an app from a time on, the oldest first. Only what the state keeps can be told: the
// records of a release are bounded.
func (s *State) Notices(app AppRef, since time.Time) []Notice {
	var notices []Notice
	add := func(n Notice) {
		if n.Time.Before(since) {
			return
		}
		n.App = app
		n.ID = fmt.Sprintf("%s %s %s%s %s", app.Release(n.Release), n.Kind, n.Host, n.Path, n.Time.UTC().Format(time.RFC3339Nano))
		notices = append(notices, n)
	}
	if b, ok := s.BackupSchedule(app); ok && b.Failed != nil {
		add(Notice{Time: b.Failed.At, Kind: NoticeBackup, By: "micro", Text: fmt.Sprintf("the scheduled backup of %s failed: %s", app, b.Failed.Reason)})
	}
	for rel := range s.Releases(app) {
		ref := rel.ReleaseRef
		if f := rel.Failure; f != nil {
			add(Notice{Time: f.At, Kind: NoticeFailed, Release: rel.N, By: rel.By, Text: fmt.Sprintf("%s failed: %s", ref, f.Reason)})
		}
		for _, note := range s.Review(ref) {
			n := Notice{Time: note.At, Kind: NoticeRejected, Release: rel.N, By: note.By, Text: fmt.Sprintf("%s rejected %s", note.By, ref)}
			if note.Approved {
				n.Kind, n.Text = NoticeApproved, fmt.Sprintf("%s approved %s", note.By, ref)
			}
			if note.Text != "" {
				n.Text += ": " + note.Text
			}
			add(n)
		}
		for _, record := range s.FadesOf(ref) {
			for _, e := range record.Steps {
				if n, ok := record.notice(e); ok {
					add(n)
				}
			}
		}
	}
	slices.SortStableFunc(notices, func(a, b Notice) int { return a.Time.Compare(b.Time) })
	return notices
}

// notice returns the notice of an entry of a cross-fade's record; false for steps and pauses.
func (r *FadeRecord) notice(e FadeEntry) (Notice, bool) {
	n := Notice{Time: e.At, Release: r.To.N, Host: r.Host, Path: r.Path, By: e.By}
	route := hostPath(r.Host, r.Path)
	switch e.What {
	case "started":
		n.Kind, n.Text = NoticeStarted, fmt.Sprintf("%s started a cross-fade of %s from %s to %s", e.By, route, r.From, r.To)
	case "finished":
		n.Kind, n.Text = NoticeFinished, fmt.Sprintf("%s has moved from %s to %s", route, r.From, r.To)
	case "aborted":
		n.Kind, n.Text = NoticeAborted, fmt.Sprintf("%s is rolled back from %s to %s", route, r.To, r.From)
	default:
		return n, false
	}
	if e.What != "started" && r.Reason != "" {
		n.Text += ": " + r.Reason
	}
	if e.Figures != nil {
		n.Verdict = e.Figures.Verdict
	}
	return n, true
}
