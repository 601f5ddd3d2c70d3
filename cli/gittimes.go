package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud/source"
)

// maxHistory is how long git's history may take to read; the times of the files are those of the disk then.
const maxHistory = 10 * time.Second

// stamp gives the files that are as git's last commit has them the time of the commit that last changed them, and
// returns when the folder was made: the time of the last commit where there is nothing but that, else that of the
// newest file. So two clones of a commit make the same image.
func stamp(ctx context.Context, dir string, set *source.Set) time.Time {
	history := readHistory(ctx, dir)
	created, clean := history.head, !history.head.IsZero()
	var newest time.Time
	for i := range set.Entries {
		e := &set.Entries[i]
		if e.Mode.IsDir() {
			continue
		}
		if t, ok := history.files[e.Path]; ok {
			e.ModTime = t
		} else {
			clean = false
		}
		if e.ModTime.After(newest) {
			newest = e.ModTime
		}
	}
	if !clean {
		created = newest
	}
	return created
}

// history is what git knows of a folder's files.
type history struct {
	head  time.Time            // of the last commit; zero: no history
	files map[string]time.Time // by path in the folder: last changed, if as in the last commit
}

func readHistory(ctx context.Context, dir string) (h history) {
	ctx, cancel := context.WithTimeout(ctx, maxHistory)
	defer cancel()
	git := func(args ...string) (string, bool) {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
		cmd.Stdout = &out
		err := cmd.Run()
		return out.String(), err == nil
	}
	// In a shallow clone the oldest commit seems to have made everything.
	if shallow, ok := git("rev-parse", "--is-shallow-repository"); !ok || strings.TrimSpace(shallow) != "false" {
		return h
	}
	tracked, ok := git("ls-files", "-z")
	changed, ok2 := git("diff", "--name-only", "-z", "--no-renames", "--relative", "HEAD", "--", ".")
	head, ok3 := git("log", "-1", "--format=%ct")
	if !ok || !ok2 || !ok3 {
		return h
	}
	wanted := map[string]bool{}
	for path := range strings.SplitSeq(tracked, "\x00") {
		wanted[path] = true
	}
	for path := range strings.SplitSeq(changed, "\x00") {
		delete(wanted, path)
	}
	delete(wanted, "")
	seconds, err := strconv.ParseInt(strings.TrimSpace(head), 10, 64)
	if err != nil {
		return h
	}
	log := exec.CommandContext(ctx, "git", "-C", dir, "log", "-z", "--format=%x01%ct", "--name-only", "--no-renames", "--relative", "--", ".")
	out, err := log.StdoutPipe()
	if err != nil || log.Start() != nil {
		return h
	}
	files, err := readLog(out, wanted)
	cancel() // all is known, or nothing more will be
	_ = log.Wait()
	if err != nil {
		return h
	}
	return history{head: time.Unix(seconds, 0), files: files}
}

// readLog reads a log of commits, the latest first, as NUL-terminated parts: \x01 and the commit's time, and the
// paths that it changed. It returns the time of the first commit that names each path, as soon as it has them all.
func readLog(r io.Reader, wanted map[string]bool) (map[string]time.Time, error) {
	files := make(map[string]time.Time, len(wanted))
	in := bufio.NewReader(r)
	var at time.Time
	first := false // path of a commit, which has a newline in front of it
	for len(files) < len(wanted) {
		part, err := in.ReadString(0)
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF // a tracked file that no commit has made
		}
		if err != nil {
			return nil, err
		}
		part = strings.TrimSuffix(part, "\x00")
		if text, ok := strings.CutPrefix(part, "\x01"); ok {
			seconds, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, err
			}
			at, first = time.Unix(seconds, 0), true
			continue
		}
		if first {
			part, first = strings.TrimPrefix(part, "\n"), false
		}
		if _, known := files[part]; wanted[part] && !known {
			files[part] = at
		}
	}
	return files, nil
}
