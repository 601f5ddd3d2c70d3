package handler

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// maxBuildLog bounds what is kept of one build's output, in bytes.
const maxBuildLog = 1 << 20

// buildLogs keeps what builds printed: GROUP/APP/N.log below its folder, a LogLine in JSON a line.
type buildLogs string

func newBuildLogs(dir string) (buildLogs, error) {
	b := filepath.Join(dir, "builds")
	return buildLogs(b), os.MkdirAll(b, 0o700)
}

func (b buildLogs) path(r cloud.ReleaseRef) string {
	return filepath.Join(string(b), string(r.Group), string(r.App), strconv.Itoa(r.N)+".log")
}

// keep takes over a file that a buildLog wrote, as a release's.
func (b buildLogs) keep(file string, r cloud.ReleaseRef) error {
	to := b.path(r)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(file, to)
}

// has says whether there is something of a release.
func (b buildLogs) has(r cloud.ReleaseRef) bool {
	_, err := os.Stat(b.path(r))
	return err == nil
}

// read yields a release's lines.
func (b buildLogs) read(q api.LogQuery) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		ref := q.App.Release(q.Release)
		f, err := os.Open(b.path(ref))
		if err != nil {
			yield(api.LogLine{}, err)
			return
		}
		defer f.Close()
		skip, _ := strconv.Atoi(q.After) // a cursor is a line's number; one that is none begins at the start
		var lines []api.LogLine
		in := bufio.NewScanner(f)
		in.Buffer(nil, maxBuildLog+4096)
		for n := 1; in.Scan(); n++ {
			l := api.LogLine{Group: ref.Group, App: ref.App, Release: ref.N, Stream: api.StreamBuild}
			if json.Unmarshal(in.Bytes(), &l) != nil || n <= skip || l.Time.Before(q.Since) {
				continue
			}
			l.Cursor = strconv.Itoa(n)
			lines = append(lines, l)
		}
		if q.Tail >= 0 && len(lines) > q.Tail {
			lines = lines[len(lines)-q.Tail:]
		}
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(api.LogLine{}, err)
		}
	}
}

// sweep removes what belongs to releases that are no more.
func (b buildLogs) sweep(s *cloud.State) error {
	files, err := filepath.Glob(filepath.Join(string(b), "*", "*", "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		rel, err := filepath.Rel(string(b), file)
		if err != nil {
			return err
		}
		parts := strings.Split(filepath.ToSlash(rel), "/")
		n, err := strconv.Atoi(strings.TrimSuffix(parts[2], ".log"))
		ref := cloud.AppRef{Group: cloud.GroupName(parts[0]), App: cloud.AppName(parts[1])}.Release(n)
		if _, ok := s.Release(ref); err == nil && ok && n > 0 {
			continue
		}
		errs = append(errs, os.Remove(file))
		// The folder goes with its last file; until then it can't.
		_ = os.Remove(filepath.Dir(file))
	}
	return errors.Join(errs...)
}

// buildLog writes the output of one build.
type buildLog struct {
	w       io.Writer
	now     func() time.Time
	left    int
	names   map[string]int    // step ID → number, as shown
	partial map[string][]byte // step ID → the beginning of a line
	done    map[string]bool
}

func newBuildLog(w io.Writer, now func() time.Time) *buildLog {
	return &buildLog{w: w, now: now, left: maxBuildLog, names: map[string]int{}, partial: map[string][]byte{}, done: map[string]bool{}}
}

// add writes what a progress has to say, as `docker build --progress=plain` shows it.
func (b *buildLog) add(p runtime.Progress) error {
	n, ok := b.names[p.ID]
	if !ok {
		n = len(b.names) + 1
		b.names[p.ID] = n
		if err := b.line(n, p.Name, ""); err != nil {
			return err
		}
	}
	source := "stdout"
	if p.LogToErr {
		source = "stderr"
	}
	text := append(b.partial[p.ID], p.Log...)
	for {
		line, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			break
		}
		if err := b.line(n, string(bytes.TrimSuffix(line, []byte("\r"))), source); err != nil {
			return err
		}
		text = rest
	}
	b.partial[p.ID] = bytes.Clone(text)
	if p.Ended == nil || b.done[p.ID] {
		return nil
	}
	b.done[p.ID] = true
	end := "DONE"
	switch {
	case p.Error != "":
		end = "ERROR: " + p.Error
	case p.Cached:
		end = "CACHED"
	case p.Started != nil:
		end = fmt.Sprintf("DONE %.1fs", p.Ended.Sub(*p.Started).Seconds())
	}
	if len(text) > 0 {
		if err := b.line(n, string(text), source); err != nil {
			return err
		}
		delete(b.partial, p.ID)
	}
	return b.line(n, end, "")
}

func (b *buildLog) line(n int, text, source string) error {
	if b.left < 0 {
		return nil
	}
	l := struct {
		Time   time.Time `json:"time"`
		Source string    `json:"source,omitempty"`
		Text   string    `json:"text"`
	}{b.now().UTC(), source, fmt.Sprintf("#%d %s", n, text)}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if b.left -= len(data); b.left < 0 {
		l.Text = "the rest of the output is left out"
		if data, err = json.Marshal(l); err != nil {
			return err
		}
	}
	_, err = b.w.Write(append(data, '\n'))
	return err
}
