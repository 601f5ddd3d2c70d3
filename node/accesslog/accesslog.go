package accesslog

import (
	"strconv"
	"time"

	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime/logs"
)

// Recorder writes a line for every request to the log of the app that it went to.
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

// appendAccess adds one request in the order in which people look at it. It allocates nothing.
func appendAccess(b []byte, x *router.Exchange) []byte {
	b = strconv.AppendInt(b, int64(x.Status), 10)
	b = append(b, ' ')
	b = appendCut(b, x.Method, mostMethod)
	b = append(b, ' ')
	b = appendCut(b, x.Host, mostHost)
	b = appendCut(b, x.Target, mostTarget)
	b = append(b, " duration="...)
	b = appendMilliseconds(b, x.Duration)
	b = append(b, " in="...)
	b = strconv.AppendInt(b, x.In, 10)
	b = append(b, " out="...)
	b = strconv.AppendInt(b, x.Out, 10)
	b = append(b, " client="...)
	b = x.Client.Addr().AppendTo(b)
	b = append(b, " id="...)
	b = appendCut(b, x.RequestID, mostID)
	if x.Instance != "" {
		b = append(b, " instance="...)
		b = append(b, x.Instance...)
	}
	if x.Error != "" {
		b = append(b, " error="...)
		b = append(b, x.Error...)
	}
	return b
}

// The most bytes of a line that a client may fill: the app's own lines share their room with these.
const (
	mostMethod = 32
	mostHost   = 255
	mostTarget = 1024
	mostID     = 128
)

// appendCut adds at most most bytes of what a client sent, and "…" where there are more.
func appendCut(b, text []byte, most int) []byte {
	if len(text) <= most {
		return append(b, text...)
	}
	return append(append(b, text[:most]...), "…"...)
}

// appendMilliseconds writes 1234560 ns as "1.23ms".
func appendMilliseconds(b []byte, d time.Duration) []byte {
	hundredths := int64(d / (10 * time.Microsecond))
	b = append(strconv.AppendInt(b, hundredths/100, 10), '.', byte('0'+hundredths/10%10), byte('0'+hundredths%10))
	return append(b, "ms"...)
}
