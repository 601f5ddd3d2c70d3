package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// journal is the log of one app: segments named by rising numbers, the last of which is written to.
type journal struct {
	dir   string
	limit int64 // bytes of all segments together

	mu      sync.Mutex
	numbers []int    // of the segments there are, rising
	file    *os.File // the last one
	size    int64
	// ends is where each instance's raw file has been copied to, as far as the segments know.
	ends    map[cloud.InstanceID]int64
	changed chan struct{} // closed, and made anew, at every append
}

// segments is how many files a journal's limit is divided into.
const segments = 8

func openJournal(dir string, limit int64) (*journal, error) {
	j := &journal{dir: dir, limit: limit, ends: map[cloud.InstanceID]int64{}, changed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".log")); err == nil {
			j.numbers = append(j.numbers, n)
		}
	}
	slices.Sort(j.numbers)
	for i, n := range j.numbers {
		if err := j.recover(n, i == len(j.numbers)-1); err != nil {
			return nil, err
		}
	}
	if len(j.numbers) == 0 {
		j.numbers = []int{1}
	}
	return j, j.openLast()
}

func (j *journal) path(n int) string { return filepath.Join(j.dir, fmt.Sprintf("%08d.log", n)) }

// recover learns the offsets that a segment knows of, and cuts off a record that was only half written.
func (j *journal) recover(n int, last bool) error {
	whole := int64(0)
	err := readSegment(j.path(n), 0, func(l Line, next int64) bool {
		j.learn(l)
		whole = next
		return true
	})
	if err != nil || !last {
		return err
	}
	return os.Truncate(j.path(n), whole)
}

// gone is the offset of a mark for an instance that will write no more.
const gone = -1

func (j *journal) learn(l Line) {
	switch {
	case l.end == gone:
		delete(j.ends, l.Instance)
	case l.end > 0: // of an instance's own lines, not of those about it
		j.ends[l.Instance] = max(j.ends[l.Instance], l.end)
	}
}

func (j *journal) openLast() error {
	f, err := os.OpenFile(j.path(j.numbers[len(j.numbers)-1]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	j.file, j.size = f, info.Size()
	return nil
}

// append writes lines of an instance, and with them how far its raw file has been copied.
func (j *journal) append(lines []Line) error {
	if len(lines) == 0 {
		return nil
	}
	var b []byte
	for _, l := range lines {
		b = l.append(b)
	}
	if err := j.write(b); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range lines {
		j.learn(l)
	}
	return nil
}

// write writes records by one call, so that a kill leaves all of them or none.
func (j *journal) write(b []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.size >= j.limit/segments {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if _, err := j.file.Write(b); err != nil {
		// Half a batch would be copied once more: as if nothing had been written.
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(b))
	close(j.changed)
	j.changed = make(chan struct{})
	return nil
}

// rotate begins a new segment, which knows all offsets that matter, and drops what is too old.
func (j *journal) rotate() error {
	if err := j.file.Close(); err != nil {
		return err
	}
	j.numbers = append(j.numbers, j.numbers[len(j.numbers)-1]+1)
	if err := j.openLast(); err != nil {
		return err
	}
	var b []byte
	for id, end := range j.ends {
		b = Line{Stream: mark, Instance: id, end: end}.append(b)
	}
	if _, err := j.file.Write(b); err != nil {
		return err
	}
	j.size += int64(len(b))
	for len(j.numbers) > segments {
		if err := os.Remove(j.path(j.numbers[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		j.numbers = j.numbers[1:]
	}
	return nil
}

// end is where the raw file of an instance has been copied to.
func (j *journal) end(id cloud.InstanceID) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ends[id]
}

// forget drops the offset of an instance that will write no more, also for who opens the journal later.
func (j *journal) forget(id cloud.InstanceID) error {
	if j.end(id) == 0 {
		return nil
	}
	return j.append([]Line{{Stream: mark, Instance: id, end: gone}})
}

// cursor is a place in a journal.
type cursor struct {
	segment int
	offset  int64
}

func (c cursor) String() string { return fmt.Sprintf("%d:%d", c.segment, c.offset) }

// parseCursor reads what String wrote; anything else is the beginning.
func parseCursor(s string) (c cursor) {
	if _, err := fmt.Sscanf(s, "%d:%d", &c.segment, &c.offset); err != nil || c.segment < 0 || c.offset < 0 {
		return cursor{}
	}
	return c
}

// last is the place behind the last line.
func (j *journal) last() cursor {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cursor{j.numbers[len(j.numbers)-1], j.size}
}

// read calls use for every line from a place on and returns the place behind the last, with a channel
// that is closed when there is more. Lines of segments that are gone meanwhile are passed over.
func (j *journal) read(from cursor, use func(Line) bool) (cursor, <-chan struct{}, error) {
	j.mu.Lock()
	numbers, changed, size := slices.Clone(j.numbers), j.changed, j.size
	j.mu.Unlock()
	if from.segment > numbers[len(numbers)-1] {
		from = cursor{} // of a log that was dropped since
	}
	for i, n := range numbers {
		if n < from.segment {
			continue
		}
		if n > from.segment {
			from = cursor{segment: n}
		}
		limit := int64(1 << 62)
		if i == len(numbers)-1 {
			limit = size
		}
		stopped := false
		err := readSegment(j.path(n), from.offset, func(l Line, next int64) bool {
			if next > limit {
				return false
			}
			from.offset, l.Cursor = next, cursor{n, next}.String()
			if l.Stream != mark && !use(l) {
				stopped = true
			}
			return !stopped
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) || stopped {
			return from, changed, err
		}
	}
	return from, changed, nil
}

// readSegment calls use for every whole record from an offset on, with the offset behind it.
func readSegment(path string, offset int64, use func(l Line, next int64) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 256<<10)
	for {
		record, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		offset += int64(len(record))
		if l, ok := parseLine(bytes.TrimSuffix(record, []byte("\n"))); ok && !use(l, offset) {
			return nil
		}
	}
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
