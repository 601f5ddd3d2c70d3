package deploy

import (
	"bufio"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// buildLogs keeps what builds printed, as GROUP/APP/N.log below its folder; each line is an api.LogLine in
// JSON.
type buildLogs string

func newBuildLogs(dir string) (buildLogs, error) {
	b := filepath.Join(dir, "builds")
	return buildLogs(b), os.MkdirAll(b, 0o700)
}

func (b buildLogs) path(r cloud.ReleaseRef) string {
	return filepath.Join(string(b), string(r.Group), string(r.App), strconv.Itoa(r.N)+".log")
}

// keep moves a file that a buildLog wrote to where the release's output is kept.
func (b buildLogs) keep(file string, r cloud.ReleaseRef) error {
	to := b.path(r)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(file, to)
}

// has reports whether the output of a release's build is kept.
func (b buildLogs) has(r cloud.ReleaseRef) bool {
	_, err := os.Stat(b.path(r))
	return err == nil
}

// read yields the lines of the release that q names.
func (b buildLogs) read(q api.LogQuery) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		ref := q.App.Release(q.Release)
		f, err := os.Open(b.path(ref))
		if err != nil {
			yield(api.LogLine{}, err)
			return
		}
		defer f.Close()
		skip, _ := strconv.Atoi(q.After) // a cursor is a line's number; any other text means the start
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

// sweep removes the output of releases that no longer exist.
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
		// This removes the folder after its last file, and fails before.
		_ = os.Remove(filepath.Dir(file))
	}
	return errors.Join(errs...)
}

// BuildLog returns the lines of the build that made the image of the release in q; 0 means the app's newest
// release. A release that was not pushed (env, scale) has its parent's image, and so its parent's build.
func (d *Deployer) BuildLog(q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	s := d.cfg.Store.State()
	n := q.Release
	if n == 0 {
		app, err := s.MustApp(q.App)
		if err != nil {
			return nil, err
		}
		n = app.Last
	}
	for at := n; at > 0; {
		if d.logs.has(q.App.Release(at)) {
			q.Release = at
			return d.logs.read(q), nil
		}
		rel, ok := s.Release(q.App.Release(at))
		if !ok || rel.Push != "" {
			break
		}
		at = rel.Parent
	}
	return nil, cloud.Errorf(cloud.NotFound, "there is no build log for release %s", q.App.Release(n)).WithCommand("micro releases %s", q.App)
}
