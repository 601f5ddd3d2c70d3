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
		SharedKey:     r.Name, // the next build of this app is sent only what changed
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
		"image-resolve-mode": "local", // what is on this node already needs no registry
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
	// A cache mount of one app's is nobody else's to read, or to put something into.
	attrs["build-arg:BUILDKIT_CACHE_MOUNT_NS"] = r.Name
	syntax, err := ownSyntax(dockerfile)
	if err != nil {
		return nil, err
	}
	if syntax != "" {
		// Tells the front end that it is the one that was asked for.
		attrs["cmdline"] = syntax
	}
	return attrs, nil
}

// ownSyntax returns what a Dockerfile's "# syntax=" line names. The one that everybody writes is the
// front end that runs in this process, in whatever version; others would be programs to fetch and to run.
func ownSyntax(dockerfile []byte) (string, error) {
	ref, _, _, ok := parser.DetectSyntax(dockerfile)
	if !ok {
		return "", nil
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, "docker.io/"), "@")
	name, _, _ = strings.Cut(name, ":")
	if name != "docker/dockerfile" && name != "docker/dockerfile-upstream" {
		return "", cloud.Errorf(cloud.Invalid, "build: the Dockerfile wants %q to read it, and only docker/dockerfile is there", ref).
			WithHint("remove its \"# syntax=\" line")
	}
	return ref, nil
}

func (s *server) exportAttrs(r build.Request) map[string]string {
	attrs := map[string]string{
		// Recorded under its digest alone, in one step: there is no name that a second build could take over.
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

// created is when an image is to have been made, in seconds since 1970; "" where nobody has said so, or where the
// front end is told by the build argument for it. That argument is not used otherwise: for every other value WORKDIR
// would be carried out anew, and all steps after it.
func created(r build.Request) string {
	if _, given := r.Args[sourceDate]; given || r.Created.IsZero() {
		return ""
	}
	return strconv.FormatInt(r.Created.Unix(), 10)
}
