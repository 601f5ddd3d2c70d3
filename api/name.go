package api

import "github.com/protoduction/micro/cloud"

// ReleaseName names a release of an app, in answers.
type ReleaseName struct {
	Group   cloud.GroupName `json:"group"`
	App     cloud.AppName   `json:"app"`
	Release int             `json:"release,omitempty" doc:"The release's number; missing: whatever is current"`
}

// NameOf is a release's name as the API shows it.
func NameOf(r cloud.ReleaseRef) ReleaseName {
	return ReleaseName{Group: r.Group, App: r.App, Release: r.N}
}

// Ref is the release that the name means.
func (n ReleaseName) Ref() cloud.ReleaseRef {
	return cloud.AppRef{Group: n.Group, App: n.App}.Release(n.Release)
}

// String is "shop@r7", or "shop" for whatever is current.
func (n ReleaseName) String() string { return n.Ref().String() }

// WeightedRelease is a release with its weight among the targets of a route.
type WeightedRelease struct {
	ReleaseName
	Weight *int `json:"weight,omitempty" doc:"Missing: a share by its ready instances"`
}
