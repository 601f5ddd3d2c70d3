package deploy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// notesOn returns what whoever pushed should know of a new release: what does not run, and what will be
// lost. volumes are those of the image.
func notesOn(rel *cloud.Release, volumes []string) (notes []string) {
	for _, name := range slices.Sorted(maps.Keys(rel.Formation)) {
		if name != cloud.ReleaseCommand && rel.Formation[name].Instances == 0 {
			notes = append(notes, fmt.Sprintf("process %s has 0 instances: micro scale %s %s=1", name, rel.App, name))
		}
	}
	for i, v := range volumes {
		if !kept(rel.Spec.Volumes, v) {
			notes = append(notes, fmt.Sprintf("warning: the image keeps data in %s, and the next release starts without it; to keep it, write in micro.yml: "+
				"x-micro: {volumes: [{name: %s, path: %s}]}", v, volumeName(v, i), v))
		}
	}
	return notes
}

// gapNotice says that an app will be away while it switches to what is pushed; "" where it won't.
func gapNotice(s *cloud.State, app cloud.AppRef, r api.PushRequest) string {
	changes, ref, err := s.Push(cloud.Push{App: app, Spec: r.Spec, Stage: r.Stage}, cloud.Stamp{})
	if err != nil {
		return "" // the request has been checked: the app has changed since
	}
	rel, ok := s.Apply(s.Rev()+1, changes).Release(ref)
	if !ok {
		return ""
	}
	return s.GapNotice(rel)
}

// kept says whether a folder lies on a volume.
func kept(volumes []cloud.Volume, folder string) bool {
	folder = path.Clean(folder)
	return slices.ContainsFunc(volumes, func(v cloud.Volume) bool {
		return v.Path == folder || strings.HasPrefix(folder, strings.TrimSuffix(v.Path, "/")+"/")
	})
}

// volumeName proposes a name for the i-th volume.
func volumeName(folder string, i int) string {
	name := strings.ToLower(path.Base(folder))
	if v := (cloud.Volume{Name: name, Path: folder}); v.Validate() != nil || i > 0 {
		return fmt.Sprintf("data%d", i+1)
	}
	return name
}
