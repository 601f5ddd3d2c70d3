package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/protoduction/micro/runtime"
)

// maxBuildLog bounds what is kept of one build's output, in bytes.
const maxBuildLog = 1 << 20

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

// add writes a progress event as `docker build --progress=plain` shows it.
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
		l.Text = "the rest of the output is not kept"
		if data, err = json.Marshal(l); err != nil {
			return err
		}
	}
	_, err = b.w.Write(append(data, '\n'))
	return err
}
