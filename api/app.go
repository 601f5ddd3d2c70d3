package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// App is an app with what there is to know at a glance.
type App struct {
	Group     cloud.GroupName     `json:"group" doc:"The group that owns the app"`
	Name      cloud.AppName       `json:"name" doc:"The app's name"`
	Created   time.Time           `json:"created"`
	Current   int                 `json:"current" doc:"Number of the release that the app's address follows, 0 before there is one"`
	Last      int                 `json:"last" doc:"The highest release number so far"`
	Phase     cloud.Phase         `json:"phase,omitempty" doc:"Phase of the current release; before there is one, of the latest. Missing: the app has no release yet"`
	Rollout   int                 `json:"rollout,omitempty" doc:"Number of the release that is being switched to"`
	Ready     int                 `json:"ready" doc:"Instances of the current release that are ready"`
	Instances int                 `json:"instances" doc:"Instances that the current release is to have"`
	Image     string              `json:"image,omitempty" doc:"What the current release's image was made from"`
	Addresses []string            `json:"addresses" nullable:"false" doc:"URLs of the app; the first one opens without any set-up"`
	Idle      []cloud.ProcessName `json:"idle,omitempty" doc:"Processes that have no instance, as the formation has it"`
	Hosts     []string            `json:"hosts" nullable:"false" doc:"Mapped hosts with their paths"`
	Egress    *Egress             `json:"egress,omitempty" doc:"What its containers may reach outside; missing: everything but metadata services"`
}

// Release is one release of an app.
type Release struct {
	Group     cloud.GroupName               `json:"group"`
	App       cloud.AppName                 `json:"app"`
	Release   int                           `json:"release" doc:"The release's number, from 1"`
	Phase     cloud.Phase                   `json:"phase" doc:"Where the release stands" enum:"starting,current,staged,routed,warm,retired,pruned,stopped,failed,superseded"`
	Created   time.Time                     `json:"created"`
	By        string                        `json:"by" doc:"Who made it"`
	Cause     string                        `json:"cause" doc:"The verb that made it: push, env, …"`
	Parent    int                           `json:"parent,omitempty" doc:"The release it took environment, bindings and formation from"`
	Image     string                        `json:"image" doc:"What the image was made from"`
	Digest    string                        `json:"digest" doc:"The image's digest, which is what runs"`
	Processes map[cloud.ProcessName]Process `json:"processes"`
	Strategy  cloud.StrategyKind            `json:"strategy" enum:"rolling,cutover,recreate"`
	Ready     int                           `json:"ready" doc:"Instances that are ready"`
	Instances int                           `json:"instances" doc:"Instances that the formation has"`
	Staged    bool                          `json:"staged,omitempty" doc:"Runs at its own address although no route names it"`
	Warm      *time.Time                    `json:"warm,omitempty" doc:"Until when it is kept running for a quick way back"`
	Failure   *cloud.Failure                `json:"failure,omitempty" doc:"Why it never came up"`
	Fade      string                        `json:"fade,omitempty" doc:"How the last cross-fade to it went, in words"`
	Addresses []string                      `json:"addresses" nullable:"false" doc:"URLs of this release alone"`
	Labels    map[string]string             `json:"labels,omitempty"`
}

// Process is one kind of process of a release, and how much of it runs.
type Process struct {
	Command   string      `json:"command,omitempty" doc:"Command line for a shell; missing where the image's own runs"`
	Port      int         `json:"port,omitempty" doc:"Where it listens"`
	Instances int         `json:"instances"`
	Memory    int64       `json:"memory_limit" doc:"Bytes of memory that an instance may use"`
	CPU       int64       `json:"cpu_limit,omitempty" doc:"Thousandths of a core that an instance may use; missing: all of the node's"`
	Disk      int64       `json:"disk_limit,omitempty" doc:"Bytes that an instance's own files may have, volumes left out; missing: no limit"`
	Ready     int         `json:"ready" doc:"Instances that are ready"`
	Liveness  cloud.Check `json:"liveness"`
	Readiness cloud.Check `json:"readiness"`
}

// Difference is one line of what sets two releases apart. Values of the environment are left out: that
// they differ is all that is said.
type Difference struct {
	Field string `json:"field" doc:"What differs, for example image, env.PORT, web.memory"`
	From  string `json:"from" doc:"Value in the first release, empty where it has none"`
	To    string `json:"to" doc:"Value in the second release, empty where it has none"`
}

// NewApp is an app to make without a release.
type NewApp struct {
	Name cloud.AppName `json:"name" maxLength:"64" doc:"The app's name"`
}

// Env is the environment of a release, or what an app has for its first one.
type Env struct {
	Release int               `json:"release,omitempty" doc:"The release's number; missing: the app has no current release yet, and the next one starts with this"`
	Env     map[string]string `json:"env" doc:"Without the secrets"`
	Secrets []string          `json:"secrets,omitempty" doc:"Names of variables whose values are shown one at a time"`
}

// EnvChange makes a release with another environment. An app that has no current release yet keeps the
// change for its next one.
type EnvChange struct {
	Release int               `json:"release,omitempty" doc:"The release to derive from; missing: the current one"`
	Set     map[string]string `json:"set,omitempty"`
	Unset   []string          `json:"unset,omitempty"`
	Secret  bool              `json:"secret,omitempty" doc:"Make secrets of the variables that are set; a secret stays one until it is unset"`
}

// Secret is a variable of a release's environment that is a secret.
type Secret struct {
	Release int    `json:"release,omitempty" doc:"The release's number; missing: the app has no current release yet"`
	Name    string `json:"name"`
	Value   string `json:"value"`
}

// Verb is what a command about a release needs to know.
type Verb struct {
	Release int  `json:"release,omitempty" minimum:"0" doc:"The release's number; missing: the current one, for rollback the one before"`
	Force   bool `json:"force,omitempty" doc:"Also to a release that was superseded, or where a public host would answer 503"`
}

// ScaleChange is how much of each process is to run from now on.
type ScaleChange struct {
	Release   int                           `json:"release,omitempty" doc:"The release's number; missing: the current one"`
	Processes map[cloud.ProcessName]ScaleTo `json:"processes" minProperties:"1"`
	Force     bool                          `json:"force,omitempty" doc:"Also where a public host would answer 503"`
}

// ScaleTo changes what is not missing.
type ScaleTo struct {
	Instances *int   `json:"instances,omitempty" minimum:"0"`
	Memory    *int64 `json:"memory,omitempty" doc:"Bytes an instance"`
	CPU       *int64 `json:"cpu,omitempty" doc:"Thousandths of a core an instance, 0 for no limit"`
	Disk      *int64 `json:"disk,omitempty" doc:"Bytes of an instance's own files, 0 for no limit"`
}

// Changed answers a write: what is desired from now on. To see it come true, wait for the release
// (Client.Wait).
type Changed struct {
	Revision cloud.Revision `json:"revision" doc:"The cloud's revision that has the change"`
	Release  int            `json:"release,omitempty" doc:"The release that the write was about, or made; missing: none"`
	Volumes  []string       `json:"volumes,omitempty" doc:"Volumes that are kept of an app that was removed"`
	Routes   []Route        `json:"routes,omitempty" doc:"The routes that a write about routes changed, as they are now"`
	Note     string         `json:"note,omitempty" doc:"Something to know, for a person"`
}

// Outcome is how a deploy ended well.
type Outcome struct {
	Group     cloud.GroupName `json:"group"`
	App       cloud.AppName   `json:"app"`
	Release   int             `json:"release"`
	Phase     cloud.Phase     `json:"phase"`
	Addresses []string        `json:"addresses" nullable:"false" doc:"URLs that answer now; the first one opens without any set-up"`
}

// Rollout is how far a release has come.
type Rollout struct {
	Release   int         `json:"release"`
	Phase     cloud.Phase `json:"phase"`
	Ready     int         `json:"ready" doc:"Instances of the wanted generation that are ready"`
	Instances int         `json:"instances" doc:"Instances that are to be ready"`
	Draining  int         `json:"draining,omitempty" doc:"Instances of it that are on their way out"`
	Waiting   string      `json:"waiting,omitempty" doc:"What an instance is waiting for, where one says so"`
	Switching bool        `json:"switching,omitempty" doc:"The app is switching to the release, or was when waiting began"`
}

// WaitEvent is one event of waiting for a release: a Rollout as often as it changed, then exactly one
// Outcome or Failure.
type WaitEvent struct {
	Rollout *Rollout `json:"rollout,omitempty"`
	Outcome *Outcome `json:"outcome,omitempty"`
	Failure *Problem `json:"failure,omitempty"`
}
