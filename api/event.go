package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Event is something that happened in a cloud: a change that somebody asked for, or what became of it.
type Event struct {
	Time    time.Time       `json:"time"`
	Cursor  string          `json:"cursor,omitempty" doc:"Pass it as after to go on behind this event"`
	Group   cloud.GroupName `json:"group,omitempty"`
	App     cloud.AppName   `json:"app,omitempty"`
	Release int             `json:"release,omitempty"`
	Kind    string          `json:"kind" doc:"What happened: release.failed, instance.ready, crossfade.step, …"`
	Object  string          `json:"object,omitempty" doc:"What it happened to: shop@r7, shop/web.0@r7, www.example.com/"`
	By      string          `json:"by,omitempty" doc:"Who asked for it"`
	Text    string          `json:"text,omitempty" doc:"One line for a person"`
}

// EventQuery says which events to read, oldest first.
type EventQuery struct {
	Group  cloud.GroupName // "": all that the caller may see
	App    cloud.AppName   // "": all
	Since  time.Time       // not before; zero: from the beginning
	After  string          // cursor of an event: go on behind it
	Tail   int             // no more than the last so many; below 0: all
	Follow bool            // go on with new ones until the context ends
}
