package api

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// LogStream is where log lines come from.
type LogStream string

// The streams of an app's log.
const (
	StreamApp    LogStream = "app"    // what the instances write
	StreamRouter LogStream = "router" // requests
	StreamBuild  LogStream = "build"  // what builds print
	StreamAPI    LogStream = "api"    // who changed what
)

// LogLine is a line of an app's log, as the app wrote it: control bytes and all. Printable makes it fit
// for a terminal.
type LogLine struct {
	Time     time.Time         `json:"time"`
	Group    cloud.GroupName   `json:"group"`
	App      cloud.AppName     `json:"app"`
	Release  int               `json:"release,omitempty"`
	Process  cloud.ProcessName `json:"process,omitempty"`
	Index    int               `json:"index" doc:"Of the instance among those of its process, from 0"`
	Instance cloud.InstanceID  `json:"instance,omitempty"`
	Stream   LogStream         `json:"stream" enum:"app,router,build,api"`
	Text     string            `json:"text" doc:"Without the line's end"`
	// Cursor goes on after this line; it is sent as the event's id.
	Cursor string `json:"cursor,omitempty" doc:"Pass it as after to go on behind this line"`
}

// String is the line as CONVENTIONS has it: "2026-11-22T21:15:00.123Z shop/web.2@r7 | text".
func (l LogLine) String() string {
	who := cloud.AppRef{Group: l.Group, App: l.App}.String()
	switch {
	case l.Stream != StreamApp && l.Stream != "":
		who += "/" + string(l.Stream)
	default:
		who += fmt.Sprintf("/%s.%d", l.Process, l.Index)
	}
	if l.Release != 0 {
		who += fmt.Sprintf("@r%d", l.Release)
	}
	return l.Time.UTC().Format("2006-01-02T15:04:05.000Z") + " " + who + " | " + Printable(l.Text)
}

// LogQuery says which lines of an app's log to read, oldest first.
type LogQuery struct {
	App      cloud.AppRef
	Release  int               // 0: all
	Process  cloud.ProcessName // "": all
	Index    *int              // nil: all
	Instance cloud.InstanceID  // "": all
	Streams  []LogStream       // none: app
	Since    time.Time         // not before; zero: from the beginning
	After    string            // cursor of a line: go on behind it
	Tail     int               // no more than the last so many lines; below 0: all
	Follow   bool              // go on with new lines until the context ends
}
