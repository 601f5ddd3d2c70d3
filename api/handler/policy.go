package handler

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// rule is what an operation asks of its caller.
type rule struct {
	needs cloud.Permission
	// early operations are answered before the node is ready.
	early bool
	// read is how long the request's body may take; 0: bodyTimeout.
	read time.Duration
}

const (
	// bodyTimeout is how long a body of JSON may take.
	bodyTimeout = 10 * time.Second
)

// policy has every operation of the API. New fails for one that is missing here, and for one too many.
var policy = map[string]rule{
	"version":   {needs: cloud.MayRead, early: true},
	"openapi":   {needs: cloud.MayRead, early: true},
	"node":      {needs: cloud.MayRead, early: true},
	"doctor":    {needs: cloud.MayRead, early: true},
	"disk":      {needs: cloud.MayRead},
	"metrics":   {needs: cloud.MayRead},
	"explain":   {needs: cloud.MayRead},
	"authority": {needs: cloud.MayRead},
	"prune":     {needs: cloud.MayAdminister},
	"down":      {needs: cloud.MayAdminister},
	"events":    {needs: cloud.MayRead},

	"images":     {needs: cloud.MayRead},
	"load-image": {needs: cloud.MayAdminister, read: uploadTimeout},

	"apps":           {needs: cloud.MayRead},
	"create-app":     {needs: cloud.MayDeploy},
	"app":            {needs: cloud.MayRead},
	"releases":       {needs: cloud.MayRead},
	"release":        {needs: cloud.MayRead},
	"diff":           {needs: cloud.MayRead},
	"instances":      {needs: cloud.MayRead},
	"figures":        {needs: cloud.MayRead},
	"routes":         {needs: cloud.MayRead},
	"wait":           {needs: cloud.MayRead},
	"logs":           {needs: cloud.MayOperate},
	"env":            {needs: cloud.MayReadSecret},
	"set-env":        {needs: cloud.MayDeploy},
	"promote":        {needs: cloud.MayDeploy},
	"rollback":       {needs: cloud.MayDeploy},
	"scale":          {needs: cloud.MayOperate},
	"restart":        {needs: cloud.MayOperate},
	"stop":           {needs: cloud.MayDeploy},
	"start":          {needs: cloud.MayDeploy},
	"delete-app":     {needs: cloud.MayDeploy},
	"delete-release": {needs: cloud.MayDeploy},

	"exec": {needs: cloud.MayOperate},
	"run":  {needs: cloud.MayOperate},

	"map":     {needs: cloud.MayExpose},
	"unmap":   {needs: cloud.MayExpose},
	"traffic": {needs: cloud.MayExpose},

	"crossfade":        {needs: cloud.MayExpose},
	"crossfade-pause":  {needs: cloud.MayExpose},
	"crossfade-resume": {needs: cloud.MayExpose},
	"crossfade-abort":  {needs: cloud.MayExpose},
	"pass":             {needs: cloud.MayExpose},
	"compare":          {needs: cloud.MayRead},

	"swap": {needs: cloud.MayExpose},

	"cloud-limits":     {needs: cloud.MayRead},
	"set-cloud-limits": {needs: cloud.MayAdminister},
	"route-limits":     {needs: cloud.MayRead},
	"limits":           {needs: cloud.MayExpose},

	"pushes":      {needs: cloud.MayRead},
	"push":        {needs: cloud.MayDeploy},
	"upload":      {needs: cloud.MayDeploy, read: uploadTimeout},
	"show-push":   {needs: cloud.MayDeploy},
	"push-events": {needs: cloud.MayDeploy},
	"cancel-push": {needs: cloud.MayDeploy},
}
