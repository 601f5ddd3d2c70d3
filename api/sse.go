package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/protoduction/micro/cloud"
)

// EventStream is the media type of server-sent events (HTML Living Standard, section 9.2).
const EventStream = "text/event-stream"

// KeepAlive is how often a stream in which nothing happens carries a comment: whoever reads it knows
// that the other side lives, whoever writes it learns that it does not.
const KeepAlive = 15 * time.Second

// maxEvent bounds one event, in bytes.
const maxEvent = 4 << 20

// errorEvent is the name of the event that ends a stream with a Problem.
const errorEvent = "error"

// EventWriter writes a stream of server-sent events. Its methods are not for several goroutines at once.
type EventWriter struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// writeTimeout is how long a client may refuse to take an event before it counts as gone.
const writeTimeout = 30 * time.Second

// NewEventWriter begins a stream.
func NewEventWriter(w http.ResponseWriter) *EventWriter {
	h := w.Header()
	h.Set("Content-Type", EventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy in between must not gather events
	w.WriteHeader(http.StatusOK)
	e := &EventWriter{w, http.NewResponseController(w)}
	// The headers tell the client that its query was good, before anything happens.
	_ = e.out.Flush()
	return e
}

// Send writes an event whose data is v in JSON; id may be empty.
func (e *EventWriter) Send(id string, v any) error { return e.send(id, "", v) }

// Fail ends the stream with an error.
func (e *EventWriter) Fail(p *Problem) error { return e.send("", errorEvent, p) }

// Comment writes a line that readers skip.
func (e *EventWriter) Comment() error { return e.write([]byte(":\n\n")) }

func (e *EventWriter) send(id, event string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	if event != "" {
		fmt.Fprintf(&b, "event: %s\n", event)
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	return e.write(b.Bytes())
}

func (e *EventWriter) write(b []byte) error {
	// A writer without deadlines is a test's. The connection may serve other requests after this one.
	_ = e.out.SetWriteDeadline(time.Now().Add(writeTimeout))
	defer func() { _ = e.out.SetWriteDeadline(time.Time{}) }()
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.out.Flush()
}

// ReadEvents yields the data of each event in r. A stream that the server ended with an error, or that
// broke off, ends with that error: cloud.Unavailable for the latter.
func ReadEvents[T any](r io.Reader) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		in := bufio.NewScanner(r)
		in.Buffer(make([]byte, 0, 4096), maxEvent)
		var event string
		var data []byte
		for in.Scan() {
			line := in.Bytes()
			if len(line) == 0 {
				if len(data) > 0 {
					v, err := decodeEvent[T](event, data)
					if !yield(v, err) || err != nil {
						return
					}
				}
				event, data = "", data[:0]
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				event = string(value)
			case "data":
				if len(data) > 0 {
					data = append(data, '\n')
				}
				data = append(data, value...)
			}
		}
		if err := in.Err(); err != nil {
			yield(none, cloud.Errorf(cloud.Unavailable, "the stream broke off: %w", err))
		}
	}
}

func decodeEvent[T any](event string, data []byte) (v T, err error) {
	if event == errorEvent {
		var p Problem
		if err := json.Unmarshal(data, &p); err != nil {
			return v, cloud.Errorf(cloud.Internal, "cannot read the error that the server sent: %w", err)
		}
		return v, p.Err()
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, cloud.Errorf(cloud.Internal, "cannot read an event that the server sent: %w", err)
	}
	return v, nil
}
