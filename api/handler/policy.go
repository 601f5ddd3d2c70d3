package handler

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// rule is what an operation asks of its caller.
type rule struct {
	least cloud.Role
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
	"version": {least: cloud.RoleAuditor, early: true},
	"openapi": {least: cloud.RoleAuditor, early: true},
	"node":    {least: cloud.RoleAuditor, early: true},
	"doctor":  {least: cloud.RoleAuditor, early: true},
	"disk":    {least: cloud.RoleAuditor},
	"metrics": {least: cloud.RoleAuditor},
	"explain": {least: cloud.RoleAuditor},
	"prune":   {least: cloud.RoleAdmin},
	"down":    {least: cloud.RoleAdmin},
	"events":  {least: cloud.RoleAuditor},

	"images":     {least: cloud.RoleAuditor},
	"load-image": {least: cloud.RoleAdmin, read: uploadTimeout},

	"apps":           {least: cloud.RoleAuditor},
	"app":            {least: cloud.RoleAuditor},
	"releases":       {least: cloud.RoleAuditor},
	"release":        {least: cloud.RoleAuditor},
	"diff":           {least: cloud.RoleAuditor},
	"instances":      {least: cloud.RoleAuditor},
	"figures":        {least: cloud.RoleAuditor},
	"routes":         {least: cloud.RoleAuditor},
	"wait":           {least: cloud.RoleAuditor},
	"logs":           {least: cloud.RoleTester},
	"env":            {least: cloud.RoleDeveloper},
	"set-env":        {least: cloud.RoleDeveloper},
	"promote":        {least: cloud.RoleDeveloper},
	"rollback":       {least: cloud.RoleDeveloper},
	"scale":          {least: cloud.RoleTester},
	"restart":        {least: cloud.RoleTester},
	"stop":           {least: cloud.RoleDeveloper},
	"start":          {least: cloud.RoleDeveloper},
	"delete-app":     {least: cloud.RoleDeveloper},
	"delete-release": {least: cloud.RoleDeveloper},

	"exec": {least: cloud.RoleTester},
	"run":  {least: cloud.RoleTester},

	"map":     {least: cloud.RoleReleaser},
	"unmap":   {least: cloud.RoleReleaser},
	"traffic": {least: cloud.RoleReleaser},

	"crossfade":        {least: cloud.RoleReleaser},
	"crossfade-pause":  {least: cloud.RoleReleaser},
	"crossfade-resume": {least: cloud.RoleReleaser},
	"crossfade-abort":  {least: cloud.RoleReleaser},
	"pass":             {least: cloud.RoleReleaser},
	"compare":          {least: cloud.RoleAuditor},

	"swap": {least: cloud.RoleReleaser},

	"push":        {least: cloud.RoleDeveloper},
	"upload":      {least: cloud.RoleDeveloper, read: uploadTimeout},
	"show-push":   {least: cloud.RoleDeveloper},
	"push-events": {least: cloud.RoleDeveloper},
	"cancel-push": {least: cloud.RoleDeveloper},
}
