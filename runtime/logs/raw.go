package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

const (
	// punchEvery is how many copied bytes are given back at a time.
	punchEvery = 1 << 20
	// chunk is how much of a raw file is copied by one write to the journal.
	chunk = 256 << 10
)

// raw is the file that one instance writes to, being copied to its app's journal.
type raw struct {
	file     *os.File
	journal  *journal
	instance cloud.Instance
	copied   int64 // offset behind the last line in the journal
	punched  int64
	lateTo   int64  // lines that end before here were written while micro was down
	errors   uint64 // lines of level error that were copied since micro's start
}

// openRaw opens, or makes, an instance's raw file and finds where copying must go on.
func openRaw(path string, i cloud.Instance, j *journal) (*raw, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	from := j.end(i.ID)
	return &raw{file: f, journal: j, instance: i, copied: from, punched: from &^ (punchEvery - 1), lateTo: info.Size()}, nil
}

// copy appends what has been written since to the journal, as much as fits into buf; with all, also a last
// line without an end. more says that there is more to copy at once.
func (r *raw) copy(buf []byte, now time.Time, all bool) (more bool, err error) {
	if err := r.skip(now); err != nil {
		return false, err
	}
	n, err := r.file.ReadAt(buf, r.copied)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	// The shim gives back what is older than the journal's limit (shim.KeepLog): what was read may be a hole now.
	if behind, err := r.behind(); err != nil || behind > r.journal.limit {
		return err == nil, err
	}
	atEnd := errors.Is(err, io.EOF)
	lines, taken := r.split(buf[:n], now, all && atEnd)
	if err := r.journal.append(lines); err != nil {
		return false, err
	}
	r.copied += int64(taken)
	for _, l := range lines {
		if isError(l.Text) {
			r.errors++
		}
	}
	if r.copied-r.punched >= punchEvery {
		r.punch()
	}
	return !atEnd && taken > 0, nil
}

// skip passes over what the journal would drop again at once: who prints faster than it can be copied
// gets no more of the disk than who does not.
func (r *raw) skip(now time.Time) error {
	behind, err := r.behind()
	if err != nil || behind <= r.journal.limit {
		return err
	}
	skipped := behind - r.journal.limit/2
	if skipped, err = r.lineStart(skipped); err != nil {
		return err
	}
	line := r.line(now, r.copied+skipped, fmt.Sprintf("[%d bytes were dropped: more came than an app's log keeps]", skipped))
	if err := r.journal.append([]Line{line}); err != nil {
		return err
	}
	r.copied += skipped
	r.punch()
	return nil
}

// behind returns how many bytes are written and not copied.
func (r *raw) behind() (int64, error) {
	info, err := r.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size() - r.copied, nil
}

// lineStart moves a distance from what is copied on to the start of the next line, or at least character,
// within one line's length.
func (r *raw) lineStart(distance int64) (int64, error) {
	b := make([]byte, maxLine)
	n, err := r.file.ReadAt(b, r.copied+distance-1) // with the byte before, which may end a line
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if end := bytes.IndexByte(b[:n], '\n'); end >= 0 {
		return distance + int64(end), nil
	}
	for i := 1; i < min(n, 1+utf8.UTFMax); i++ {
		if utf8.RuneStart(b[i]) {
			return distance + int64(i) - 1, nil
		}
	}
	return distance, nil
}

func (r *raw) line(now time.Time, end int64, text string) Line {
	return Line{
		Time: now, Stream: App, Release: r.instance.N, Process: r.instance.Process, Index: r.instance.Index, Instance: r.instance.ID,
		Late: end <= r.lateTo, Text: text, end: end,
	}
}

// split cuts whole lines off b, and says how many bytes they took.
func (r *raw) split(b []byte, now time.Time, all bool) (lines []Line, taken int) {
	for taken < len(b) {
		rest := b[taken:]
		end := bytes.IndexByte(rest, '\n')
		var text []byte
		switch {
		case end > maxLine || end < 0 && len(rest) > maxLine:
			text = wholeCharacters(rest[:maxLine])
			end = len(text)
		case end >= 0:
			text, end = bytes.TrimSuffix(rest[:end], []byte("\r")), end+1
		case all:
			text, end = bytes.TrimSuffix(rest, []byte("\r")), len(rest)
		default:
			return lines, taken
		}
		taken += end
		lines = append(lines, r.line(now, r.copied+int64(taken), string(text)))
	}
	return lines, taken
}

// wholeCharacters leaves the last character of a piece to the next one where the piece ends inside of it.
// What is not UTF-8 is cut where it ends.
func wholeCharacters(b []byte) []byte {
	for back := 1; back <= min(utf8.UTFMax, len(b)); back++ {
		if c := b[len(b)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-back:]) {
				return b[:len(b)-back]
			}
			return b
		}
	}
	return b
}

// punch gives the space of what is copied back to the filesystem. Where that does not work the file
// just stays as large as it is.
func (r *raw) punch() {
	to := r.copied &^ (punchEvery - 1)
	if err := unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.punched, to-r.punched); err == nil {
		r.punched = to
	}
}
