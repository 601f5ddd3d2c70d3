package figures

import (
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// releaseOf reads the names that the router counts by: "shop" or "qa/shop", and "r7".
func releaseOf(app, release string) cloud.ReleaseRef {
	n, _ := strconv.Atoi(strings.TrimPrefix(release, "r"))
	return AppRef(app).Release(n)
}

// AppRef reads an app's name as the router writes it: "shop", "qa/shop".
func AppRef(name string) cloud.AppRef {
	if group, app, ok := strings.Cut(name, "/"); ok {
		return cloud.AppRef{Group: cloud.GroupName(group), App: cloud.AppName(app)}
	}
	return cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(name)}
}
