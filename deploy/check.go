package deploy

import (
	"path/filepath"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// checkRequest reports everything that is wrong with a request, before anything is sent.
func checkRequest(s *cloud.State, app cloud.AppRef, r api.PushRequest) error {
	var errs []error
	sources := 0
	for _, has := range []bool{r.Image != "", r.Source != nil, r.Archive} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "a push has one of image, source and archive, not %d", sources).
			WithHint("push a folder, or --image REF"))
	}
	if r.Source != nil && r.Source.Dockerfile != "" && !filepath.IsLocal(r.Source.Dockerfile) {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "the Dockerfile %q lies outside the folder", r.Source.Dockerfile))
	}
	if r.Source != nil {
		errs = append(errs, r.Source.CheckSecrets())
	}
	errs = append(errs, s.CheckPush(app, r.Spec, r.Stage))
	return cloud.Join(errs...)
}
