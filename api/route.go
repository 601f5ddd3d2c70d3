package api

import "github.com/protoduction/micro/cloud"

// Route is a path of a mapped host and what it routes to.
type Route struct {
	Host          cloud.Host        `json:"host"`
	Unicode       string            `json:"unicode,omitempty" doc:"The host in its own letters, where they are not a-z alone"`
	Path          string            `json:"path"`
	Group         cloud.GroupName   `json:"group" doc:"Owns the host"`
	Exposure      cloud.Exposure    `json:"exposure" enum:"internal,public"`
	Targets       []Target          `json:"targets" nullable:"false"`
	Sticky        *Sticky           `json:"sticky,omitempty" doc:"How clients are kept with their release; missing: they are not"`
	Rules         []Rule            `json:"rules,omitempty" doc:"The first that matches a request counts"`
	Mirror        *Mirror           `json:"mirror,omitempty" doc:"Where copies of requests go"`
	Crossfade     *Crossfade        `json:"crossfade,omitempty" doc:"The cross-fade that is under way"`
	Limits        map[string]string `json:"limits,omitempty" doc:"The route's own, by name: answer-timeout, max-body …"`
	HTTPSOnly     bool              `json:"https_only,omitempty" doc:"Requests without TLS are led to TLS"`
	HSTS          string            `json:"hsts,omitempty" doc:"How long browsers are to ask by TLS alone"`
	ClientCA      string            `json:"client_ca,omitempty" doc:"Authorities in PEM, one of which must vouch for every client"`
	Login         cloud.GroupName   `json:"login_group,omitempty" doc:"People must log in, and have a role in this group"`
	Addresses     []string          `json:"addresses" nullable:"false" doc:"URLs that open it; of a public host with the port of the public listener"`
	Passthrough   bool              `json:"passthrough,omitempty" doc:"TLS is the app's: connections are passed on as they are"`
	ProxyProtocol bool              `json:"proxy_protocol,omitempty" doc:"Connections that are passed on begin with a header of the PROXY protocol, version 2"`
	Fault         string            `json:"fault,omitempty" doc:"Why this node does not listen on the port"`
	Own           bool              `json:"own,omitempty" doc:"An app's or release's own address, which nobody mapped and nobody can unmap"`
}

// Sticky is how clients are kept with their release.
type Sticky struct {
	By     cloud.StickyBy `json:"by" enum:"cookie,header,client" doc:"What a client is known by; client is its address"`
	Header string         `json:"header,omitempty" doc:"The header's name, for by: header"`
}

// Rule sends requests that match a condition to a release.
type Rule struct {
	When string `json:"when" doc:"Such as header x-beta: 1, cookie beta=1, address 192.0.2.0/24 or percent 5"`
	ReleaseName
}

// Mirror is where copies of safe requests go.
type Mirror struct {
	ReleaseName
	Percent int `json:"percent" doc:"Of GET and HEAD requests"`
}

// Target is a release that a route names.
type Target struct {
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app"`
	Release int             `json:"release,omitempty" doc:"Missing: whatever is current"`
	Weight  *int            `json:"weight,omitempty" doc:"Missing: a share by its ready instances"`
	Ready   int             `json:"ready" doc:"Instances that requests may go to"`
}

// Mapping routes a path of a host to an app or release.
type Mapping struct {
	Host          string            `json:"host" minLength:"1" maxLength:"254" doc:"A name, or tcp:PORT"`
	Path          string            `json:"path,omitempty" maxLength:"2048" doc:"Missing: /"`
	App           cloud.AppName     `json:"app"`
	Release       int               `json:"release,omitempty" doc:"Missing: whatever is current"`
	Weight        *int              `json:"weight,omitempty" minimum:"0" maximum:"100" doc:"Percent; missing: a share by its ready instances"`
	Public        bool              `json:"public,omitempty" doc:"Answer on the public listeners too"`
	Sticky        string            `json:"sticky,omitempty" doc:"Keep clients with their release, known by cookie, client (address) or header:NAME; none ends that; missing: as it is"`
	Headers       *bool             `json:"headers,omitempty" doc:"Whether answers carry X-Micro-Release and X-Micro-Instance; missing: as it is"`
	Limits        map[string]string `json:"limits,omitempty" doc:"Limits of the route by name, such as answer-timeout: 5m; default takes one back"`
	HTTPSOnly     *bool             `json:"https_only,omitempty" doc:"Of the host: whether requests without TLS are led to TLS; missing: as it is"`
	HSTS          string            `json:"hsts,omitempty" doc:"Of the host: how long browsers are to ask by TLS alone, such as 180d; 0 ends it; missing: as it is"`
	ClientCA      *string           `json:"client_ca,omitempty" maxLength:"200000" doc:"Of the host: authorities in PEM, one of which must vouch for every client; empty ends it; missing: as it is"`
	Login         *bool             `json:"require_login,omitempty" doc:"Of the host: whether people must log in to see it; missing: as it is"`
	LoginOf       cloud.GroupName   `json:"login_group,omitempty" maxLength:"63" doc:"The group in which they need a role; missing: as it is, or the host's own"`
	Passthrough   *bool             `json:"passthrough,omitempty" doc:"Of the host: whether TLS is left to the app; missing: as it is"`
	ProxyProtocol *bool             `json:"proxy_protocol,omitempty" doc:"Whether connections that are passed on begin with a header of the PROXY protocol, version 2; missing: as it is"`
	Force         bool              `json:"force,omitempty" doc:"Also to a release that was superseded"`
}

// Unmapping takes a target from a route, or gives a host up.
type Unmapping struct {
	Host        string        `json:"host" minLength:"1" maxLength:"254"`
	Path        string        `json:"path,omitempty" maxLength:"2048"`
	App         cloud.AppName `json:"app,omitempty"`
	Release     int           `json:"release,omitempty"`
	Force       bool          `json:"force,omitempty" doc:"Also the last target of the route, which then answers 503"`
	ReleaseHost bool          `json:"release_host,omitempty" doc:"Give the host up with all its routes; app is left out"`
}

// Weights replaces all weights of a route, or what is copied of its requests, or both.
type Weights struct {
	Host    string     `json:"host" minLength:"1" maxLength:"254"`
	Path    string     `json:"path,omitempty" maxLength:"2048"`
	Targets []Weight   `json:"targets,omitempty" maxItems:"100" doc:"Missing: as they are"`
	Rule    *NewRule   `json:"rule,omitempty" doc:"Missing: the rules stay as they are"`
	Mirror  *Mirroring `json:"mirror,omitempty" doc:"Missing: as it is"`
}

// NewRule adds a rule to a route, or ends one.
type NewRule struct {
	When    string        `json:"when" minLength:"1" maxLength:"1000" doc:"Such as header X-Beta: 1, header X-Beta, cookie beta=1, cookie beta, address 192.0.2.0/24 or percent 5"`
	App     cloud.AppName `json:"app,omitempty"`
	Release int           `json:"release,omitempty" doc:"Missing: whatever is current"`
	End     bool          `json:"end,omitempty" doc:"End the rule with this condition; app is left out"`
}

// Mirroring sends copies of safe requests to a release. The answers reach nobody.
type Mirroring struct {
	App     cloud.AppName `json:"app,omitempty"`
	Release int           `json:"release,omitempty" doc:"Missing: whatever is current"`
	Percent int           `json:"percent" minimum:"0" maximum:"100" doc:"Of GET and HEAD requests; 0 ends it"`
}

// Weight is a target's share, relative to the others.
type Weight struct {
	App     cloud.AppName `json:"app"`
	Release int           `json:"release,omitempty"`
	Weight  int           `json:"weight" minimum:"0" maximum:"1000000"`
}

// Swap exchanges the routes of two hosts.
type Swap struct {
	A     string `json:"a" minLength:"1"`
	B     string `json:"b" minLength:"1"`
	Force bool   `json:"force,omitempty" doc:"Also where a host would answer 503"`
}
