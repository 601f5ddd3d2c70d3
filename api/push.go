package api

import (
	"encoding/json"
	"time"

	"github.com/protoduction/micro/cloud"
)

// PushRequest asks for a push. Exactly one of the sources is named: Image, Source or Archive. The two
// latter are uploaded once the draft has been accepted.
type PushRequest struct {
	Spec    cloud.PushSpec `json:"spec" doc:"What the manifest and flags say of the release"`
	Stage   bool           `json:"stage,omitempty" doc:"Run at its own address alone, do not become current"`
	Image   string         `json:"image,omitempty" doc:"Pull this reference"`
	Source  *Source        `json:"source,omitempty" doc:"Build the folder that is uploaded next"`
	Archive bool           `json:"archive,omitempty" doc:"Run the image of the OCI or docker archive that is uploaded next"`
	Name    string         `json:"name,omitempty" doc:"For people: where it came from, for example the folder or file name"`
}

// Source says how to build an uploaded folder.
type Source struct {
	Dockerfile string            `json:"dockerfile,omitempty" doc:"Path in the folder; missing: Dockerfile"`
	Target     string            `json:"target,omitempty" doc:"Stage to stop at"`
	Args       map[string]string `json:"args,omitempty"`
	Secrets    map[string][]byte `json:"secrets,omitempty" doc:"By their IDs, in base64, for RUN --mount=type=secret; kept in memory until the image is made"`
	NoCache    bool              `json:"no_cache,omitempty"`
	Created    time.Time         `json:"created,omitzero" doc:"What the image says of when it was made, for example the time of the commit; missing: the time of the newest file"`
	Labels     map[string]string `json:"labels,omitempty" doc:"OCI annotations to set, for example the revision"`
	Apart      []string          `json:"apart,omitzero" doc:"Paths of the folder that COPY and ADD must not see, for example of an ignored Dockerfile. Missing: what NAME.dockerignore beside the Dockerfile or .dockerignore names"`
}

// MaxSecrets bounds the secrets of a build, all together, in bytes.
const MaxSecrets = 500 << 10

// CheckSecrets reports secrets that no build can have.
func (s *Source) CheckSecrets() error {
	size := 0
	for id, value := range s.Secrets {
		if id == "" {
			return cloud.Errorf(cloud.Invalid, "a build secret has no ID")
		}
		size += len(value)
	}
	if size > MaxSecrets {
		return cloud.Errorf(cloud.Invalid, "the build secrets have more than %d KB", MaxSecrets>>10).WithHint("a secret is a password or a key; COPY other files")
	}
	return nil
}

// PushPhase is how far a push has come.
type PushPhase string

// The phases of a push, in order. Done, PushFailed and Cancelled are ends.
const (
	PushUploading PushPhase = "uploading"
	PushImage     PushPhase = "image" // building, pulling or importing
	PushStarting  PushPhase = "starting"
	PushDone      PushPhase = "done"
	PushFailed    PushPhase = "failed"
	PushCancelled PushPhase = "cancelled"
)

// Ended says whether nothing more will happen.
func (p PushPhase) Ended() bool { return p == PushDone || p == PushFailed || p == PushCancelled }

// Push is a push as it stands.
type Push struct {
	ID      string          `json:"id" doc:"Finds the push again, also after a restart of the node"`
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app"`
	Phase   PushPhase       `json:"phase" enum:"uploading,image,starting,done,failed,cancelled"`
	Created time.Time       `json:"created"`
	By      string          `json:"by"`
	Source  string          `json:"source,omitempty" doc:"What is pushed: the name of the folder, archive or image"`
	Release int             `json:"release,omitempty" doc:"The release's number, once there is one"`
	Events  int             `json:"events" doc:"How many events there have been"`
	Kept    bool            `json:"kept,omitempty" doc:"In the answer to a request with a source: the node keeps the files of the app's last push, so that listing the files saves uploading most of them"`
	Missing []string        `json:"missing,omitzero" doc:"In the answer to a list of files: those that have to be uploaded. Empty: none, the push goes on. Missing: upload all"`
	Outcome *Outcome        `json:"outcome,omitempty" doc:"How it ended well"`
	Failure *Problem        `json:"failure,omitempty" doc:"How it ended badly"`
}

// PushEvent is something that happened to a push; exactly one of the fields after Seq is set. The last
// event is an Outcome or a Failure.
type PushEvent struct {
	Seq      int       `json:"seq" doc:"From 1; ask for from=seq+1 to go on after it"`
	Phase    PushPhase `json:"phase,omitempty" doc:"A phase has begun"`
	Progress *Progress `json:"progress,omitempty" doc:"A step of a build or pull"`
	Release  int       `json:"release,omitempty" doc:"The release was made"`
	Rollout  *Rollout  `json:"rollout,omitempty" doc:"How far its instances are"`
	Note     string    `json:"note,omitempty" doc:"Something to know"`
	Outcome  *Outcome  `json:"outcome,omitempty"`
	Failure  *Problem  `json:"failure,omitempty"`
}

// Progress is a step of a pull, import or build. It is sent again whenever something of it changed.
type Progress struct {
	ID       string     `json:"id"`
	Name     string     `json:"name,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Cached   bool       `json:"cached,omitempty"`
	Error    string     `json:"error,omitempty"`
	Current  int64      `json:"current,omitempty" doc:"Bytes"`
	Total    int64      `json:"total,omitempty" doc:"Bytes"`
	Log      []byte     `json:"log,omitempty" doc:"Output of the step since the last time, base64"`
	LogToErr bool       `json:"log_to_err,omitempty"`
}

// size is about what the event takes in memory.
func (e PushEvent) Size() int {
	b, err := json.Marshal(e)
	if err != nil {
		return 0
	}
	return len(b)
}
