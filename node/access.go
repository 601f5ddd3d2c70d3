package node

import (
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime/logs"
)

// access writes a line for every request to the log of the app that it went to.
type access struct{ logs *logs.Logs }

var _ router.Recorder = access{}

// Record implements router.Recorder.
func (a access) Record(x *router.Exchange) {
	if x.App == "" {
		return
	}
	release, _ := strconv.Atoi(strings.TrimPrefix(x.Release, "r"))
	a.logs.Append(appRef(x.App), logs.Line{
		Time: time.Now().UTC(), Stream: logs.Router, Release: release, Instance: cloud.InstanceID(x.Instance), Text: accessLine(x),
	})
}

// appRef reads an app's name as the router writes it: "shop", "qa/shop".
func appRef(name string) cloud.AppRef {
	if group, app, ok := strings.Cut(name, "/"); ok {
		return cloud.AppRef{Group: cloud.GroupName(group), App: cloud.AppName(app)}
	}
	return cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(name)}
}

// accessLine is one request in the order in which people look at it.
func accessLine(x *router.Exchange) string {
	b := make([]byte, 0, 160)
	b = strconv.AppendInt(b, int64(x.Status), 10)
	b = append(b, ' ')
	b = append(b, x.Method...)
	b = append(b, ' ')
	b = append(b, x.Host...)
	b = append(b, x.Target...)
	b = append(b, " duration="...)
	b = append(b, x.Duration.Round(10*time.Microsecond).String()...)
	b = append(b, " in="...)
	b = strconv.AppendInt(b, x.In, 10)
	b = append(b, " out="...)
	b = strconv.AppendInt(b, x.Out, 10)
	b = append(b, " client="...)
	b = append(b, x.Client.Addr().String()...)
	b = append(b, " id="...)
	b = append(b, x.RequestID...)
	if x.Instance != "" {
		b = append(b, " instance="...)
		b = append(b, x.Instance...)
	}
	if x.Error != "" {
		b = append(b, " error="...)
		b = append(b, x.Error...)
	}
	return string(b)
}
