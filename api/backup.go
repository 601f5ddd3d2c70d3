package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Backup is a file with all data that a service or a volume had at one time.
type Backup struct {
	ID        cloud.BackupID `json:"id"`
	Service   cloud.AppName  `json:"service" doc:"The service, or the app that has the volume"`
	Volume    string         `json:"volume,omitempty" doc:"The volume that was backed up; missing: a service"`
	Kind      string         `json:"kind" doc:"Of the service"`
	Version   string         `json:"version,omitempty"`
	Place     string         `json:"place,omitempty" doc:"The place or folder that has the file; missing: the node's own folder"`
	File      string         `json:"file" doc:"The file's name there"`
	Node      cloud.NodeName `json:"node,omitempty" doc:"The node that has the file; missing: all nodes reach it"`
	Taken     time.Time      `json:"taken" doc:"The time whose data it has"`
	Took      cloud.Duration `json:"took,omitempty"`
	Data      int64          `json:"data,omitempty" doc:"Bytes of data; missing in a list of what a place has: unknown"`
	Size      int64          `json:"size,omitempty" doc:"Bytes of the file"`
	Digest    string         `json:"digest,omitempty" doc:"SHA-256 of the file without its last 256 bytes"`
	By        string         `json:"by"`
	Scheduled bool           `json:"scheduled,omitempty"`
	Proven    *time.Time     `json:"proven,omitempty" doc:"When it was last restored into another service and passed the check"`
}

// NewBackup asks for a backup.
type NewBackup struct {
	To string `json:"to,omitempty" maxLength:"1024" doc:"A place, by its name or location, or the absolute path of a folder on the node; missing: the node's own folder"`
}

// BackupChoice names a backup.
type BackupChoice struct {
	Backup cloud.BackupID `json:"backup,omitempty" maxLength:"64" doc:"Its ID; missing or latest: the newest"`
	Of     cloud.AppName  `json:"of,omitempty" maxLength:"64" doc:"The service that was backed up; missing: the same one"`
	From   string         `json:"from,omitempty" maxLength:"1024" doc:"The place or folder to look for it in, also for one that micro does not know; missing: the backups that micro knows"`
}

// CloneRequest asks for a service with the same data.
type CloneRequest struct {
	Name cloud.AppName `json:"name" maxLength:"64"`
}

// Drill is a backup that was restored into a throw-away service.
type Drill struct {
	Backup  cloud.BackupID `json:"backup"`
	Took    cloud.Duration `json:"took" doc:"From the start to the end of the check"`
	Younger cloud.Duration `json:"younger" doc:"How old the backup was at the start: writes of that time are not in it"`
	Checked string         `json:"checked,omitempty" doc:"What the kind's check said"`
}

// TaskEvent is something that happened in a task that takes long. Exactly one of the fields is set. The last event has the
// result.
type TaskEvent struct {
	Progress *Progress `json:"progress,omitempty"`
	Backup   *Backup   `json:"backup,omitempty" doc:"The backup that was made or restored"`
	Drill    *Drill    `json:"drill,omitempty"`
	Changed  *Changed  `json:"changed,omitempty" doc:"The service that was made"`
}

// Ended reports whether the event is the last one.
func (e TaskEvent) Ended() bool { return e.Progress == nil }

// BackupSchedule says when a service is backed up by itself.
type BackupSchedule struct {
	Cron   string     `json:"cron" maxLength:"256" doc:"Five fields of crontab(5), in UTC, or @daily and the like"`
	Keep   int        `json:"keep" minimum:"1" maximum:"1000" doc:"How many scheduled backups are kept"`
	To     string     `json:"to,omitempty" maxLength:"1024" doc:"A place, by its name or location, or the absolute path of a folder on the leading node; missing: the node's own folder"`
	Next   *time.Time `json:"next,omitempty" doc:"In answers: when the next one is due"`
	Last   *time.Time `json:"last,omitempty" doc:"In answers: when the last one that was made was begun"`
	Failed *string    `json:"failed,omitempty" doc:"In answers: why the one after that failed"`
}

// BackupPlace is where backups may be kept beside the nodes' own folders.
type BackupPlace struct {
	Name     string    `json:"name"`
	Location string    `json:"location" doc:"A folder, or s3://BUCKET/PREFIX"`
	Endpoint string    `json:"endpoint,omitempty" doc:"URL of the S3 server"`
	KeyID    string    `json:"key_id,omitempty"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
}

// NewBackupPlace is a place to add.
type NewBackupPlace struct {
	Name     string `json:"name" maxLength:"64"`
	Location string `json:"location" maxLength:"1024" doc:"The absolute path of a folder, or s3://BUCKET/PREFIX"`
	Endpoint string `json:"endpoint,omitempty" maxLength:"1024" doc:"URL of the S3 server; missing: https://s3.amazonaws.com"`
	Region   string `json:"region,omitempty" maxLength:"64" doc:"Missing: the server says it"`
	KeyID    string `json:"key_id,omitempty" maxLength:"256"`
	Secret   string `json:"secret,omitempty" maxLength:"1024" doc:"Of the key"`
}

// ServiceUpgrade asks for a newer image of a service.
type ServiceUpgrade struct {
	Version string `json:"version,omitempty" maxLength:"64" doc:"A version of the kind with the same major number; missing: the same, from its image of now"`
}
