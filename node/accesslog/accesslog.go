package accesslog

import (
	"strconv"
	"time"

	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime/logs"
)

// Recorder writes a line for every request to the log of its app.
type Recorder struct{ Logs *logs.Logs }

var _ router.Recorder = Recorder{}

// Record implements router.Recorder.
func (r Recorder) Record(x *router.Exchange) {
	if x.Release.App == "" {
		return
	}
	r.Logs.Append(x.Release.AppRef, logs.Line{
		Time: x.Start.Add(x.Duration), Stream: logs.Router, Release: x.Release.N, Instance: x.Instance,
	}, func(b []byte) []byte { return appendAccess(b, x) })
}

// appendAccess appends the line of a request, the most interesting fields first. It allocates nothing.
func appendAccess(b []byte, x *router.Exchange) []byte {
	b = strconv.AppendInt(b, int64(x.Status), 10)
	b = append(b, ' ')
	b = appendTruncated(b, x.Method, maxMethod)
	b = append(b, ' ')
	b = appendTruncated(b, x.Host, maxHost)
	b = appendTruncated(b, x.Target, maxTarget)
	b = append(b, " duration="...)
	b = appendMilliseconds(b, x.Duration)
	b = append(b, " in="...)
	b = strconv.AppendInt(b, x.In, 10)
	b = append(b, " out="...)
	b = strconv.AppendInt(b, x.Out, 10)
	b = append(b, " client="...)
	b = x.Client.Addr().AppendTo(b)
	b = append(b, " id="...)
	b = appendTruncated(b, x.RequestID, maxID)
	if x.Instance != "" {
		b = append(b, " instance="...)
		b = append(b, x.Instance...)
	}
	if x.GRPCStatus > 0 {
		b = append(b, " grpc-status="...)
		b = strconv.AppendInt(b, int64(x.GRPCStatus), 10)
	}
	if x.Held > 0 {
		b = append(b, " held="...)
		b = appendMilliseconds(b, x.Held)
	}
	if x.Error != "" {
		b = append(b, " error="...)
		b = append(b, x.Error...)
	}
	return b
}

// Limits of fields that clients choose, in bytes, because the app's own lines share the log with these lines.
const (
	maxMethod = 32
	maxHost   = 255
	maxTarget = 1024
	maxID     = 128
)

// appendTruncated appends at most most bytes of a client's text, and "…" if it is longer.
func appendTruncated(b, text []byte, most int) []byte {
	if len(text) <= most {
		return append(b, text...)
	}
	return append(append(b, text[:most]...), "…"...)
}

// appendMilliseconds appends a duration: 1234560 ns is "1.23ms".
func appendMilliseconds(b []byte, d time.Duration) []byte {
	hundredths := int64(d / (10 * time.Microsecond))
	b = append(strconv.AppendInt(b, hundredths/100, 10), '.', byte('0'+hundredths/10%10), byte('0'+hundredths%10))
	return append(b, "ms"...)
}
