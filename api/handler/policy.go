package handler

import "time"

// rule is what an operation asks of its caller.
type rule struct {
	least Role
	// early operations are answered before the node is ready.
	early bool
	// read is how long the request's body may take; 0: bodyTimeout.
	read time.Duration
}

const (
	// bodyTimeout is how long a body of JSON may take.
	bodyTimeout = 10 * time.Second
	// uploadTimeout is how long an upload may take.
	uploadTimeout = 30 * time.Minute
)

// policy has every operation of the API. New fails for one that is missing here, and for one too many.
var policy = map[string]rule{
	"version": {least: RoleAuditor, early: true},
	"openapi": {least: RoleAuditor, early: true},
	"node":    {least: RoleAuditor, early: true},
	"doctor":  {least: RoleAuditor, early: true},
	"disk":    {least: RoleAuditor},
	"metrics": {least: RoleAuditor},
	"explain": {least: RoleAuditor},
	"prune":   {least: RoleAdmin},
	"down":    {least: RoleAdmin},
	"events":  {least: RoleAuditor},

	"images":     {least: RoleAuditor},
	"load-image": {least: RoleAdmin, read: uploadTimeout},

	"apps":           {least: RoleAuditor},
	"app":            {least: RoleAuditor},
	"releases":       {least: RoleAuditor},
	"release":        {least: RoleAuditor},
	"diff":           {least: RoleAuditor},
	"instances":      {least: RoleAuditor},
	"figures":        {least: RoleAuditor},
	"routes":         {least: RoleAuditor},
	"wait":           {least: RoleAuditor},
	"logs":           {least: RoleTester},
	"env":            {least: RoleDeveloper},
	"set-env":        {least: RoleDeveloper},
	"promote":        {least: RoleDeveloper},
	"rollback":       {least: RoleDeveloper},
	"scale":          {least: RoleTester},
	"restart":        {least: RoleTester},
	"stop":           {least: RoleDeveloper},
	"start":          {least: RoleDeveloper},
	"delete-app":     {least: RoleDeveloper},
	"delete-release": {least: RoleDeveloper},

	"exec": {least: RoleTester},
	"run":  {least: RoleTester},

	"map":     {least: RoleReleaser},
	"unmap":   {least: RoleReleaser},
	"traffic": {least: RoleReleaser},

	"crossfade":        {least: RoleReleaser},
	"crossfade-pause":  {least: RoleReleaser},
	"crossfade-resume": {least: RoleReleaser},
	"crossfade-abort":  {least: RoleReleaser},
	"pass":             {least: RoleReleaser},
	"compare":          {least: RoleAuditor},

	"swap": {least: RoleReleaser},

	"push":        {least: RoleDeveloper},
	"upload":      {least: RoleDeveloper, read: uploadTimeout},
	"show-push":   {least: RoleDeveloper},
	"push-events": {least: RoleDeveloper},
	"cancel-push": {least: RoleDeveloper},
}
