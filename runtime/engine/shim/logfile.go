package shim

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// KeepLog is how many bytes of a container's output stay on disk for micro to take over while micro does not: as
// much as micro keeps of an app. What is older goes, and micro says how much that was.
const KeepLog = 64 << 20

const (
	// slack is how much more than what is kept may be on disk: room is given back in pieces of this size.
	slack = 8 << 20
	// page is where pieces begin and end: a multiple of every file system's block.
	page = 1 << 20
)

// logFile is the file that a container's output goes to. micro reads it, and gives back the room of what it has
// taken by punching holes, so that offsets never change. The file itself does the same where micro does not.
type logFile struct {
	file    *os.File
	keep    int64
	size    int64 // of all that was ever written
	checked int64 // size when the room on disk was looked at last
	punched int64 // where the room that was not given back begins, as far as is known here

	midLine bool // the last byte written does not end a line
	dropped int64
	why     error // of what was dropped
}

func openLogFile(name string) (*logFile, error) {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the container's log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("the container's log: %w", err)
	}
	return &logFile{file: f, keep: KeepLog, size: fi.Size(), checked: fi.Size()}, nil
}

func (l *logFile) close() { l.file.Close() }

// copyBuffer is more than a line of most logs, and little enough for each of a shim's containers to have one.
const copyBuffer = 16 << 10

// copy writes what it reads until there is no more, and closes the file. It never stops reading: a disk that
// is full costs lines, and must not cost the app.
func (l *logFile) copy(r io.Reader) {
	defer l.close()
	buf := make([]byte, copyBuffer)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			l.write(buf[:n])
		}
		if err != nil {
			l.tell()
			return
		}
	}
}

// write appends b, or counts it as dropped.
func (l *logFile) write(b []byte) {
	if !l.tell() {
		l.dropped += int64(len(b))
		return
	}
	n, err := l.file.Write(b)
	l.wrote(b[:n])
	if err != nil {
		l.dropped, l.why = int64(len(b)-n), err
	}
	if l.size-l.checked >= slack/2 {
		l.bound()
	}
}

func (l *logFile) wrote(b []byte) {
	if len(b) > 0 {
		l.size += int64(len(b))
		l.midLine = b[len(b)-1] != '\n'
	}
}

// tell writes a line about what was dropped, if anything was, and reports false if it can't.
func (l *logFile) tell() bool {
	if l.dropped == 0 {
		return true
	}
	note := fmt.Sprintf("[%d bytes were dropped: %s]\n", l.dropped, reason(l.why))
	if l.midLine {
		note = "\n" + note
	}
	if n, err := l.file.WriteString(note); err != nil {
		if n > 0 {
			_ = l.file.Truncate(l.size) // no half of a line; where that fails too, one is there
		}
		return false
	}
	l.wrote([]byte(note))
	l.dropped, l.why = 0, nil
	return true
}

func reason(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "the disk was full"
	case errors.Is(err, unix.EROFS):
		return "the disk was read-only"
	}
	return "the disk failed"
}

// bound gives back the room of what is older than what is kept, if micro has not done so.
func (l *logFile) bound() {
	l.checked = l.size
	var st unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &st); err != nil || st.Blocks*512 <= l.keep+slack/2 {
		return
	}
	to := (l.size - l.keep) &^ (page - 1)
	if to <= l.punched {
		return
	}
	if err := unix.Fallocate(int(l.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, l.punched, to-l.punched); err == nil {
		l.punched = to
	}
}
