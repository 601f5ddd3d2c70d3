package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Group owns apps, and people have roles in it.
type Group struct {
	Name    cloud.GroupName `json:"name"`
	Created time.Time       `json:"created"`
	Apps    int             `json:"app_count" doc:"How many apps it owns"`
	Role    cloud.Role      `json:"role,omitempty" doc:"The caller's role in it"`
}

// NewGroup makes a group.
type NewGroup struct {
	Name cloud.GroupName `json:"name" minLength:"1" maxLength:"64"`
}

// Quota is what a group may use, and what it uses.
type Quota struct {
	Group cloud.GroupName `json:"group"`
	Limit Amount          `json:"limit" doc:"0 is no limit"`
	Used  Amount          `json:"usage"`
}

// Amount is so much of what a quota bounds.
type Amount struct {
	Memory      int64 `json:"memory" doc:"Bytes: the sum of the instances' limits"`
	Instances   int   `json:"instances"`
	Services    int   `json:"services"`
	PublicHosts int   `json:"public_hosts"`
}

// QuotaChange changes what is not missing.
type QuotaChange struct {
	Memory      *int64 `json:"memory,omitempty" minimum:"0" doc:"Bytes; 0 is no limit"`
	Instances   *int   `json:"instances,omitempty" minimum:"0"`
	Services    *int   `json:"services,omitempty" minimum:"0"`
	PublicHosts *int   `json:"public_hosts,omitempty" minimum:"0"`
}

// User is a person who may log in.
type User struct {
	Name     cloud.UserName `json:"name"`
	Created  time.Time      `json:"created"`
	By       string         `json:"by" doc:"Who made it"`
	Password bool           `json:"password" doc:"Whether the user logs in by a password"`
	Provider string         `json:"provider,omitempty" doc:"The OpenID Connect provider that knows the user"`
	Disabled bool           `json:"disabled,omitempty"`
}

// NewUser makes a user.
type NewUser struct {
	Name     cloud.UserName `json:"name" minLength:"1" maxLength:"64"`
	Password string         `json:"password,omitempty" maxLength:"1000" doc:"Missing: the user cannot log in by password"`
}

// NewPassword changes a password.
type NewPassword struct {
	Old string `json:"old,omitempty" maxLength:"1000" doc:"The present one, which an admin need not know"`
	New string `json:"new" maxLength:"1000"`
}

// Role is a role that a user or group has somewhere.
type Role struct {
	Subject string          `json:"subject" doc:"anna, unix:GROUP or oidc:GROUP"`
	Role    cloud.Role      `json:"role" enum:"auditor,tester,developer,releaser,admin"`
	Group   cloud.GroupName `json:"group,omitempty" doc:"Missing: the whole cloud"`
	By      string          `json:"by,omitempty" doc:"Who granted it"`
	Created time.Time       `json:"created,omitzero"`
}

// RoleChange grants or revokes a role.
type RoleChange struct {
	Subject string     `json:"subject" minLength:"1" maxLength:"300" doc:"anna, unix:GROUP or oidc:GROUP"`
	Role    cloud.Role `json:"role" minLength:"1" maxLength:"32" doc:"auditor, tester, developer, releaser or admin"`
}

// Whoami is who the caller is for the cloud.
type Whoami struct {
	Name   string        `json:"name"`
	Source string        `json:"source" doc:"Where the request came from"`
	Roles  []Role        `json:"roles" nullable:"false"`
	Token  cloud.TokenID `json:"token,omitempty" doc:"The token that was shown"`
}
