package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Instance is a container of a release, or a place that waits for one.
type Instance struct {
	Group        cloud.GroupName   `json:"group"`
	App          cloud.AppName     `json:"app"`
	Release      int               `json:"release"`
	ReleasePhase cloud.Phase       `json:"release_phase" doc:"Phase of the release" enum:"starting,current,staged,routed,warm,retired,pruned,stopped,failed,superseded"`
	Process      cloud.ProcessName `json:"process"`
	Index        int               `json:"index" doc:"From 0"`
	Instance     cloud.InstanceID  `json:"instance,omitempty" doc:"The container's ID; missing where none runs now"`
	Node         cloud.NodeName    `json:"node,omitempty"`
	Phase        InstancePhase     `json:"phase" enum:"pending,starting,ready,unready,draining,stopping,exited,crashed,flapping" doc:"Only ready ones are routed to; crashed ones are tried again at next_try, flapping ones crash soon after each start"`
	Since        *time.Time        `json:"since,omitempty" doc:"When the phase began"`
	Started      *time.Time        `json:"started,omitempty" doc:"When the container did"`
	Address      string            `json:"address,omitempty" doc:"IP and port that the router sends requests to; IP alone where it listens on none"`
	PID          uint32            `json:"pid,omitempty" doc:"Of the first process, on its node"`
	Restarts     int               `json:"restarts" doc:"How often this place ended by itself"`
	NextTry      *time.Time        `json:"next_try,omitempty" doc:"When the next start is due"`
	Reason       string            `json:"reason,omitempty" doc:"Why it is not ready"`
	Exit         *cloud.Exit       `json:"exit,omitempty" doc:"How it ended last"`
	Ended        string            `json:"exit_reason,omitempty" doc:"Why it ended last"`

	CPU         *float64 `json:"cpu,omitempty" doc:"Seconds of processor time since the start"`
	Memory      *int64   `json:"memory,omitempty" doc:"Bytes in use, page cache that can be dropped left out"`
	MemoryLimit int64    `json:"memory_limit" doc:"Bytes"`
	Processes   *int64   `json:"processes,omitempty" doc:"How many processes of the operating system run in it"`
	Zombies     *int64   `json:"zombies,omitempty" doc:"Processes that have ended, and that the app has not waited for"`
	Threads     *int64   `json:"threads,omitempty" doc:"Threads of all processes and zombies: what the limit of 512 counts"`
	OOMKills    *int64   `json:"oom_kills,omitempty"`
	Requests    *uint64  `json:"requests,omitempty" doc:"That it got since it joined the routing table"`
	InFlight    *int64   `json:"in_flight,omitempty" doc:"Requests and upgraded connections of it that have not ended"`
}

// InstancePhase is a cloud.InstancePhase, or one of those that an empty place has.
type InstancePhase string

// The phases of a place that no container fills.
const (
	Pending  InstancePhase = "pending"  // about to be started
	Crashed  InstancePhase = "crashed"  // ended by itself
	Flapping InstancePhase = "flapping" // ended by itself more than three times in a row
)

// InstanceQuery says which instances to list: all of a group where nothing else is said.
type InstanceQuery struct {
	App     cloud.AppName     `json:"app,omitempty"`
	Release int               `json:"release,omitempty"`
	Process cloud.ProcessName `json:"process,omitempty"`
	Stats   bool              `json:"stats,omitempty"` // with cpu, memory, processes, zombies, threads, oom_kills, requests and in_flight
}
