package api

import (
	"encoding/json"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Service is a backing service of a group.
type Service struct {
	Group       cloud.GroupName `json:"group"`
	Name        cloud.AppName   `json:"name"`
	Kind        string          `json:"kind" doc:"Such as postgres"`
	Version     string          `json:"version,omitempty"`
	Phase       string          `json:"phase" doc:"ready, starting, failed, stopped, external, deleted; of a broker also provisioning, updating, deprovisioning, unusable"`
	Reason      string          `json:"reason,omitempty" doc:"Why it is not ready"`
	Release     int             `json:"release" doc:"The release that runs it, as the log and the instances have it"`
	Production  bool            `json:"production,omitempty" doc:"Only a releaser may bind it"`
	External    bool            `json:"external,omitempty" doc:"It runs elsewhere"`
	Host        string          `json:"host,omitempty" doc:"Where apps that are bound to it find it"`
	Port        int             `json:"port,omitempty"`
	Created     time.Time       `json:"created"`
	Deleted     *time.Time      `json:"deleted,omitempty" doc:"When it was deleted"`
	Until       *time.Time      `json:"until,omitempty" doc:"Until when a deleted service can be restored"`
	Memory      int64           `json:"memory_limit,omitempty" doc:"Bytes of memory that it may use"`
	Shell       string          `json:"shell,omitempty" doc:"Command line of an interactive client in its instance"`
	Accounts    []Account       `json:"accounts" nullable:"false"`
	Fills       cloud.AppName   `json:"fills,omitempty" doc:"The service whose data it is being filled with"`
	Maintenance string          `json:"maintenance,omitempty" doc:"Of a broker's: the version that it runs on"`
	UpgradeTo   string          `json:"upgrade_to,omitempty" doc:"Of a broker's: the version that upgrade brings it to"`
	UpgradeNote string          `json:"upgrade_note,omitempty" doc:"What the broker says of that version"`
	Broker      string          `json:"broker,omitempty" doc:"The service broker that provides it; kind is then what the broker offers, and version the plan"`
	Dashboard   string          `json:"dashboard,omitempty" doc:"URL of the broker's page about it"`
	Backup      *time.Time      `json:"backup,omitempty" doc:"The time of the newest backup"`
	Schedule    *BackupSchedule `json:"schedule,omitempty"`
}

// Account is the log-in of an app at a service, without its password.
type Account struct {
	App     cloud.AppName `json:"app"`
	User    string        `json:"user,omitempty" doc:"Missing: such services have no users"`
	Phase   string        `json:"phase" doc:"waiting, ready, ending"`
	Created time.Time     `json:"created"`
	// Sessions is what the service says.
	Sessions *int  `json:"sessions,omitempty" doc:"Connections that the account has now; only of one service that is shown"`
	Releases []int `json:"releases" nullable:"false" doc:"Releases that run with it"`
	// Expires is when the broker of the service ends the account.
	Expires *time.Time `json:"expires,omitempty" doc:"When its broker ends it; missing: never"`
}

// NewService is a service to create.
type NewService struct {
	Name       cloud.AppName `json:"name" maxLength:"64"`
	Kind       string        `json:"kind,omitempty" maxLength:"64" doc:"Missing: an external service's URL says it"`
	Version    string        `json:"version,omitempty" maxLength:"64" doc:"Missing: the kind's default"`
	Memory     int64         `json:"memory_limit,omitempty" doc:"Bytes; missing: the kind's default"`
	Production bool          `json:"production,omitempty" doc:"Only a releaser may bind it"`
	URL        string        `json:"url,omitempty" maxLength:"4096" doc:"Of a service that runs elsewhere, with user and password"`
	CPU        int64         `json:"cpu_limit,omitempty" doc:"Thousandths of a core; missing: all of the node's"`
	Broker     string        `json:"broker,omitempty" maxLength:"64" doc:"The service broker that is to provide it; kind is then what the broker offers"`
	Plan       string        `json:"plan,omitempty" maxLength:"256" doc:"The broker's plan"`
	// Parameters are for the broker.
	Parameters json.RawMessage `json:"parameters,omitempty" doc:"An object that the broker understands"`
}

// ServiceUpdate asks a broker for another plan of a service, or other parameters.
type ServiceUpdate struct {
	Plan       string          `json:"plan,omitempty" maxLength:"256" doc:"Missing: as it is"`
	Parameters json.RawMessage `json:"parameters,omitempty" doc:"An object that the broker understands; missing: as they are"`
}

// BoundService is a service that a release is bound to.
type BoundService struct {
	Service   cloud.AppName `json:"service"`
	Name      string        `json:"name" doc:"What the app finds it by: a folder in SERVICE_BINDING_ROOT, NAME_URL, an entry of VCAP_SERVICES"`
	Variables []string      `json:"variables" nullable:"false" doc:"Environment variables with its URL"`
	User      string        `json:"user,omitempty" doc:"The account's user"`
}

// Bindings are those of a release.
type Bindings struct {
	Release int            `json:"release,omitempty" doc:"Missing: the app has no current release yet, and its next one starts with these"`
	Items   []BoundService `json:"items" nullable:"false"`
}

// BindingChange makes a release with other bindings.
type BindingChange struct {
	Release int           `json:"release,omitempty" doc:"The release to derive from; missing: the current one"`
	Service cloud.AppName `json:"service" maxLength:"64" doc:"The service to bind, to unbind, or to get another account at; of rebind the one to use from now on"`
	From    cloud.AppName `json:"from,omitempty" maxLength:"64" doc:"Of rebind: the service that was used until now"`
	Name    string        `json:"name,omitempty" maxLength:"64" doc:"Of bind: what the app finds the binding by; missing: the service's name"`
	As      string        `json:"as,omitempty" maxLength:"256" doc:"Of bind: the environment variable for the URL; missing: the usual one of the kind"`
	// Parameters are for the broker of the service.
	Parameters json.RawMessage `json:"parameters,omitempty" doc:"Of a broker's service: an object that the broker understands; missing in rotate: as they are"`
}

// ServiceKind is a kind of service.
type ServiceKind struct {
	Name     string            `json:"name"`
	Title    string            `json:"title"`
	Variable string            `json:"variable" doc:"The environment variable that apps expect its URL in"`
	Default  string            `json:"default" doc:"The version that is taken where none is asked for"`
	Images   map[string]string `json:"images" doc:"References of images by version"`
}

// NewServiceKind is a kind to add, or to change.
type NewServiceKind struct {
	Text string `json:"text" maxLength:"262144" doc:"The kind's file, in YAML"`
}

// ServiceImage says from which image a version of a kind runs.
type ServiceImage struct {
	Version string `json:"version" maxLength:"64"`
	Image   string `json:"image" maxLength:"1024" doc:"A reference"`
}
