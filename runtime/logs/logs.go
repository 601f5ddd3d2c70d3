package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// DefaultLimit is how many bytes of log are kept of an app. A quarter as many are kept of its requests, beside them.
const DefaultLimit = 64 << 20

// Config is where logs are kept, and how much of them.
type Config struct {
	Dir   string // made where it is missing, for root alone
	Limit int64  // bytes an app; 0 is DefaultLimit
	Log   *slog.Logger
	Now   func() time.Time
}

// Logs keeps the logs of a node's apps.
type Logs struct {
	Config
	inotify *os.File

	pending pending

	mu       sync.Mutex
	raws     map[cloud.InstanceID]*raw
	journals map[logKey]*journal
	buf      []byte // what is being copied from a raw file
}

const (
	// settle is how long to wait after a write to a raw file before it is copied: a busy app costs a
	// copy each time, not one a line.
	settle = 10 * time.Millisecond
	// sweep is how often all raw files are looked at, should a notice have been lost.
	sweep = 5 * time.Second
)

// logKey names a log. An app has two: the router's lines, one per request, are in a log of their own. So clients of
// the app can fill that log only, and push out nothing that the app has printed.
type logKey struct {
	cloud.AppRef
	requests bool
}

// New opens the logs.
func New(c Config) (*Logs, error) {
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	l := &Logs{Config: c, buf: make([]byte, chunk), raws: map[cloud.InstanceID]*raw{}, journals: map[logKey]*journal{}}
	l.pending.logs = map[logKey]*batch{}
	if err := os.MkdirAll(l.rawDir(), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder for logs: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch the logs: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, l.rawDir(), unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot watch the logs: %w", err)
	}
	l.inotify = os.NewFile(uintptr(fd), "inotify")
	return l, nil
}

func (l *Logs) rawDir() string { return filepath.Join(l.Dir, "raw") }

func (l *Logs) rawPath(id cloud.InstanceID) string { return filepath.Join(l.rawDir(), string(id)) }

// Open returns the file that an instance's output goes to, and begins to copy it to the app's log.
func (l *Logs) Open(i *cloud.Instance) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := l.rawPath(i.ID)
	if _, ok := l.raws[i.ID]; ok {
		return path, nil
	}
	j, err := l.journal(logKey{AppRef: i.AppRef})
	if err != nil {
		return "", err
	}
	r, err := openRaw(path, *i, j)
	if err != nil {
		return "", fmt.Errorf("cannot open the instance's log: %w", err)
	}
	l.raws[i.ID] = r
	return path, nil
}

// journal returns a log's journal. mu is held.
func (l *Logs) journal(key logKey) (*journal, error) {
	if j, ok := l.journals[key]; ok {
		return j, nil
	}
	dir, limit := filepath.Join(l.Dir, string(key.Group), string(key.App)), l.Limit
	if key.requests {
		dir, limit = filepath.Join(dir, "requests"), limit/4
	}
	j, err := openJournal(dir, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log of app %s: %w", key.AppRef, err)
	}
	l.journals[key] = j
	return j, nil
}

// Copy copies what an instance has put out by now, but for a line without an end.
func (l *Logs) Copy(id cloud.InstanceID) {
	// An app that prints on and on must not keep others from their turn.
	for turns := 0; l.copyOne(id) && turns < 1000; turns++ {
	}
}

// ErrorLines returns how many lines of level error an instance has written since micro's start.
func (l *Logs) ErrorLines(id cloud.InstanceID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.raws[id]; ok {
		return r.errors
	}
	return 0
}

// Done copies the last of an instance's output, also a line without an end, and removes its raw file.
func (l *Logs) Done(id cloud.InstanceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.raws[id]
	if !ok {
		return
	}
	delete(l.raws, id)
	for l.copy(r, true) {
	}
	// In this order: a kill between the two leaves a mark too many, not a line.
	if err := errors.Join(r.file.Close(), os.Remove(r.file.Name()), r.journal.forget(id)); err != nil {
		l.Log.Warn("cannot remove an instance's raw log", "instance", string(id), "err", err)
	}
}

// Sweep removes the raw files of instances that nobody has opened: they went while micro was down.
func (l *Logs) Sweep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, err := os.ReadDir(l.rawDir())
	errs := []error{err}
	for _, e := range entries {
		if _, ok := l.raws[cloud.InstanceID(e.Name())]; !ok {
			errs = append(errs, os.Remove(l.rawPath(cloud.InstanceID(e.Name()))))
		}
	}
	return errors.Join(errs...)
}

// Drop removes all that is kept of an app.
func (l *Logs) Drop(app cloud.AppRef) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range []logKey{{app, false}, {app, true}} {
		if j, ok := l.journals[key]; ok {
			delete(l.journals, key)
			j.close()
		}
	}
	l.pending.drop(app)
	return os.RemoveAll(filepath.Join(l.Dir, string(app.Group), string(app.App)))
}

// Append adds a line of micro's own to an app's log, soon. Its text is what text appends, in which there
// may be no LF. Append never waits: what is too much is dropped, and the log says how much that was.
func (l *Logs) Append(app cloud.AppRef, line Line, text func([]byte) []byte) {
	l.pending.add(app, line, text)
}

// Run copies until ctx ends; then all that has been written by then is copied.
func (l *Logs) Run(ctx context.Context) error {
	defer l.close()
	noticed := make(chan cloud.InstanceID, 256)
	go l.notice(ctx, noticed)
	due := map[cloud.InstanceID]bool{}
	timer := time.NewTimer(sweep)
	defer timer.Stop()
	swept := l.Now()
	for {
		select {
		case id, ok := <-noticed:
			if !ok {
				return fmt.Errorf("the watch of the logs has ended")
			}
			if len(due) == 0 {
				timer.Reset(settle)
			}
			due[id] = true
		case <-timer.C:
			if l.Now().Sub(swept) >= sweep {
				swept = l.Now()
				for _, id := range l.opened() {
					due[id] = true
				}
			}
			l.flush()
			for id := range due {
				if !l.copyOne(id) {
					delete(due, id)
				}
			}
			if timer.Reset(flushEvery); len(due) > 0 {
				timer.Reset(settle)
			}
		case <-ctx.Done():
			l.copyAll()
			return nil
		}
	}
}

// flushEvery is how long a line of Append may wait.
const flushEvery = 200 * time.Millisecond

func (l *Logs) opened() []cloud.InstanceID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.raws))
}

// copyAll copies all that has been written by now, lines without an end apart.
func (l *Logs) copyAll() {
	l.flush()
	for _, id := range l.opened() {
		l.Copy(id)
	}
}

// flush writes the lines of Append.
func (l *Logs) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending.take(func(key logKey, records []byte, dropped int) {
		if dropped > 0 {
			stream := API
			if key.requests {
				stream = Router
			}
			records = Line{Time: l.Now().UTC(), Stream: stream, Text: droppedText(dropped)}.append(records)
		}
		j, err := l.journal(key)
		if err == nil {
			err = j.write(records)
		}
		if err != nil {
			l.Log.Warn("cannot write an app's log", "app", key.AppRef.String(), "err", err)
		}
	})
}

// copyOne copies some of what an instance has written, and says whether there is more.
func (l *Logs) copyOne(id cloud.InstanceID) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.raws[id]
	return ok && l.copy(r, false)
}

func (l *Logs) copy(r *raw, all bool) (more bool) {
	more, err := r.copy(l.buf, l.Now().UTC(), all)
	if err != nil {
		l.Log.Warn("cannot copy an instance's log", "instance", string(r.instance.ID), "err", err)
	}
	return more && err == nil
}

// notice reads from inotify which raw files were written to.
func (l *Logs) notice(ctx context.Context, noticed chan<- cloud.InstanceID) {
	defer close(noticed)
	buf := make([]byte, 64<<10)
	for {
		n, err := l.inotify.Read(buf)
		if err != nil {
			return
		}
		for off := 0; off+unix.SizeofInotifyEvent <= n; {
			size := int(binary.NativeEndian.Uint32(buf[off+12:])) // struct inotify_event, its len
			name := buf[off+unix.SizeofInotifyEvent : off+unix.SizeofInotifyEvent+size]
			select {
			case noticed <- cloud.InstanceID(bytes.TrimRight(name, "\x00")):
			case <-ctx.Done():
				return
			}
			off += unix.SizeofInotifyEvent + size
		}
	}
}

func (l *Logs) close() {
	l.inotify.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.raws {
		r.file.Close()
	}
	for _, j := range l.journals {
		j.close()
	}
}
