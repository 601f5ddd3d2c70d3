package child

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
)

// solve builds one image and returns its manifest's digest.
func (s *server) solve(ctx context.Context, r build.Request, report func(runtime.Progress)) (string, error) {
	def, err := newDefinition(r)
	if err != nil {
		return "", err
	}
	defer def.close()
	definition, err := fsutil.NewFS(def.dir)
	if err != nil {
		return "", fmt.Errorf("open the definition: %w", err)
	}
	attrs, err := frontendAttrs(r, def.dockerfile)
	if err != nil {
		return "", err
	}
	folders := map[string]fsutil.FS{"dockerfile": definition}
	if tree := treeOf(r); tree != nil {
		key := rand.Text()
		defer s.contexts.add(key, tree)()
		attrs["local-sessionid:context"] = key
	} else if folders["context"], err = fsutil.NewFS(r.Source); err != nil {
		return "", fmt.Errorf("open the source folder: %w", err)
	}
	t := newTrack(report)
	for _, name := range unused(r.Args, def.dockerfile) {
		t.warn(fmt.Sprintf("build argument %s is given, and no ARG of %s takes it", name, r.Dockerfile))
	}
	status := make(chan *client.SolveStatus)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for st := range status {
			t.update(st)
		}
	}()
	result, err := s.client.Solve(ctx, nil, client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attrs,
		LocalMounts:   folders,
		SharedKey:     r.Name, // so that the next build of this app transfers only changed files
		Session:       []session.Attachable{credentials{from: remoteConfig(s.settings)}, secretsprovider.FromMap(r.Secrets)},
		Exports:       []client.ExportEntry{{Type: client.ExporterImage, Attrs: s.exportAttrs(r)}},
	}, status)
	<-done
	if err != nil {
		return "", t.explain(ctx, err)
	}
	return result.ExporterResponse[exptypes.ExporterImageDigestKey], nil
}

func frontendAttrs(r build.Request, dockerfile []byte) (map[string]string, error) {
	attrs := map[string]string{
		"filename":           r.Dockerfile,
		"image-resolve-mode": "local", // use images of this node without asking the registry
	}
	if r.Target != "" {
		attrs["target"] = r.Target
	}
	if r.NoCache {
		attrs["no-cache"] = ""
	}
	for k, v := range r.Args {
		attrs["build-arg:"+k] = v
	}
	for k, v := range r.Labels {
		attrs["label:"+k] = v
	}
	if at := created(r); at != "" {
		attrs[createdAttr] = at
	}
	// Cache mounts are not shared between apps.
	attrs["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = r.Name
	syntax, err := ownSyntax(dockerfile)
	if err != nil {
		return nil, err
	}
	if syntax != "" {
		// Tells the front end that it is the one that the syntax line names.
		attrs["cmdline"] = syntax
	}
	return attrs, nil
}

// ownSyntax returns the front end in a Dockerfile's "# syntax=" line. docker/dockerfile, in any version, is the front end of
// this process. Others are rejected, because BuildKit would fetch and run them as programs.
func ownSyntax(dockerfile []byte) (string, error) {
	ref, _, _, ok := parser.DetectSyntax(dockerfile)
	if !ok {
		return "", nil
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, "docker.io/"), "@")
	name, _, _ = strings.Cut(name, ":")
	if name != "docker/dockerfile" && name != "docker/dockerfile-upstream" {
		return "", cloud.Errorf(cloud.Invalid, "build: unsupported syntax %q: only docker/dockerfile is supported", ref).
			WithHint("remove its \"# syntax=\" line")
	}
	return ref, nil
}

func (s *server) exportAttrs(r build.Request) map[string]string {
	attrs := map[string]string{
		// Record the image only under its digest, in one step, so that concurrent builds don't overwrite each other.
		"dangling-name-prefix": s.settings.ImageName,
		"unpack":               "true",
		"compression":          "uncompressed", // gzip would take three to five times as long
		"oci-mediatypes":       "true",
	}
	if at := created(r); at != "" {
		attrs["source-date-epoch"] = at
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if strings.HasPrefix(k, "org.opencontainers.image.") {
			attrs["annotation."+k] = r.Labels[k]
		}
	}
	return attrs
}

// created returns the image's creation time in seconds since 1970; "" if it is unknown, or if the user set the build
// argument SOURCE_DATE_EPOCH. micro itself does not use that argument: each new value would invalidate WORKDIR in the
// cache, and all steps after it.
func created(r build.Request) string {
	if _, given := r.Args[sourceDate]; given || r.Created.IsZero() {
		return ""
	}
	return strconv.FormatInt(r.Created.Unix(), 10)
}
