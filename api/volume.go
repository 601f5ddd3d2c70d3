package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// VolumeInfo is a folder that outlives instances and releases of its app.
type VolumeInfo struct {
	App   cloud.AppName   `json:"app"`
	Group cloud.GroupName `json:"group"`
	Name  string          `json:"name"`
	Owner string          `json:"owner" doc:"app or service: what the app is"`
	// Shared says that several instances may write to it.
	Shared bool           `json:"shared" doc:"Instances may write to it at the same time; else there is one writer"`
	Node   cloud.NodeName `json:"node,omitempty" doc:"The node that has it; missing: no instance has run yet"`
	Size   *int64         `json:"size,omitempty" doc:"Bytes on the disk; missing: its node does not say it"`
	Backup *time.Time     `json:"backup,omitempty" doc:"When the newest backup was made"`
	Work   string         `json:"work,omitempty" doc:"What is being done with it"`
}

// VolumeMove asks for an app's volumes to be moved.
type VolumeMove struct {
	To cloud.NodeName `json:"to" maxLength:"64" doc:"The node"`
}
