package build_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

func TestBuild(t *testing.T) {
	r := newRig(t, nil)
	src := r.source(t, map[string]string{
		"Dockerfile": base + "ARG GREETING=none\nRUN echo $GREETING from the step\nCMD [\"/bin/sh\"]\nEXPOSE 8080\nUSER 1000\n",
	})
	var out output
	b := runtime.Build{Name: "shop", Source: src, Progress: out.add, Args: map[string]string{"GREETING": "hello"},
		Labels: map[string]string{"org.opencontainers.image.revision": "abc", "team": "x"}}
	img, err := r.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if img.Name != "shop" || img.Cmd[0] != "/bin/sh" || len(img.Ports) != 1 || img.User != "1000" || img.Size == 0 ||
		img.Labels["org.opencontainers.image.revision"] != "abc" || img.Labels["team"] != "x" {
		t.Errorf("%+v", img)
	}
	if !strings.Contains(out.log.String(), "hello from the step") {
		t.Errorf("log: %q", out.log.String())
	}
	started, named := 0, false
	for _, p := range out.steps {
		named = named || strings.Contains(p.Name, "RUN echo")
		if p.Started != nil {
			started++
		}
	}
	if !named || started < 3 {
		t.Errorf("steps: %+v", out.steps)
	}
	r.assertClean(t)

	out = output{}
	again, err := r.Build(t.Context(), b)
	if err != nil || again.Digest != img.Digest {
		t.Fatalf("built again: %v, %v", again.Digest, err)
	}
	cached := 0
	for _, p := range out.steps {
		if p.Cached {
			cached++
		}
	}
	if cached < 2 {
		t.Errorf("cached: %+v", out.steps)
	}
	// Not from the cache: the step runs once more.
	out = output{}
	b.NoCache = true
	if _, err := r.Build(t.Context(), b); err != nil || !strings.Contains(out.log.String(), "hello from the step") {
		t.Fatalf("%q, %v", out.log.String(), err)
	}
	if _, err := r.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.images.Get(t.Context(), img.Digest); err != nil {
		t.Error("pruning the cache took an image:", err)
	}
}

// Secrets reach the steps that ask for them, and no layer.
func TestSecrets(t *testing.T) {
	r := newRig(t, nil)
	src := r.source(t, map[string]string{"Dockerfile": base + `
RUN --mount=type=secret,id=npm cat /run/secrets/npm
RUN --mount=type=secret,id=npm,target=/x cat /x
RUN --mount=type=secret,id=token,env=TOKEN echo env $TOKEN
RUN test ! -e /run/secrets && test ! -e /x
`})
	var out output
	secrets := map[string][]byte{"npm": []byte("hush,\n\x80"), "token": []byte("to ken")}
	if _, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: src, Progress: out.add, Secrets: secrets}); err != nil {
		t.Fatal(err)
	}
	if log := out.log.String(); strings.Count(log, "hush,\n\x80") != 2 || !strings.Contains(log, "env to ken") {
		t.Errorf("%q", log)
	}
}

// An argument that nothing takes is most often misspelt: it is warned of.
func TestUnusedArguments(t *testing.T) {
	r := newRig(t, nil)
	src := r.source(t, map[string]string{"Dockerfile": "ARG TAG=none\n" + base + "ARG A=1 \\\n    B\narg C\nRUN echo ARG D\n"})
	var out output
	args := map[string]string{"TAG": "x", "A": "1", "B": "2", "C": "3", "D": "4", "BUILD_NUMBER": "5", "no_proxy": "*", "TARGETARCH": "amd64"}
	if _, err := r.Build(t.Context(), runtime.Build{Name: "shop", Source: src, Progress: out.add, Args: args}); err != nil {
		t.Fatal(err)
	}
	var warned []string
	for _, p := range out.steps {
		if text, ok := strings.CutPrefix(p.Name, "warning: build argument "); ok {
			warned = append(warned, text)
		}
	}
	want := []string{"BUILD_NUMBER is given, and no ARG of Dockerfile takes it", "D is given, and no ARG of Dockerfile takes it"}
	if slices.Sort(warned); !slices.Equal(warned, want) {
		t.Errorf("%q", warned)
	}
}

func TestDockerfile(t *testing.T) {
	r := newRig(t, nil)
	img, _, err := r.build(t, `# syntax=docker/dockerfile:1.7
FROM scratch AS one
COPY sh /bin/sh
ARG V=1
ENV V=$V
RUN --mount=type=cache,target=/cache echo $V > /out
RUN <<EOF
echo heredoc > /here
EOF
COPY <<EOF /inline
inline
EOF

FROM scratch AS two
COPY --from=one /bin/sh /bin/sh
COPY --from=one /out /here /
COPY . /src
RUN cat /out && cat /here
RUN test -e /src/keep.txt && test ! -e /src/secret.txt
RUN --mount=type=tmpfs,target=/t --mount=type=bind,from=one,target=/one cat /one/inline
LABEL a=b
HEALTHCHECK NONE
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh"]

FROM two AS unused
RUN exit 1

FROM two
`, ".dockerignore", "secret.txt\n", "keep.txt", "k", "secret.txt", "s")
	if err != nil {
		t.Fatal(err)
	}
	if img.Labels["a"] != "b" || img.StopSignal != "SIGINT" || img.Entrypoint[0] != "/bin/sh" {
		t.Errorf("%+v", img)
	}
	src := r.source(t, map[string]string{"deploy/App.Dockerfile": base + "FROM scratch AS early\nCOPY sh /early\nFROM scratch\nRUN exit 1\n"})
	if _, err := r.Build(t.Context(), runtime.Build{Name: "t", Source: src, Dockerfile: "deploy/App.Dockerfile", Target: "early"}); err != nil {
		t.Error("another Dockerfile, and a target:", err)
	}
}

func TestDockerfileErrors(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		what, dockerfile string
		code             cloud.Code
		says             string
	}{
		{"unknown instruction", "FROM scratch\nFROBNICATE x\n", cloud.DeployFailed, "FROBNICATE"},
		{"empty", "", cloud.DeployFailed, "empty"},
		{"no such file", "FROM scratch\nCOPY nothere /x\n", cloud.DeployFailed, "nothere"},
		{"other syntax", "# syntax=example.com/evil:1\nFROM scratch\n", cloud.Invalid, "example.com/evil"},
		{"base that nobody has", "FROM registry.invalid/nothing:1\n", cloud.DeployFailed, "registry.invalid"},
		{"the host's network", base + "RUN --network=host true\n", cloud.DeployFailed, "network"},
		{"all privileges", "# syntax=docker/dockerfile:1-labs\n" + base + "RUN --security=insecure true\n", cloud.DeployFailed, "insecure"},
		{"secret that is not there", base + "RUN --mount=type=secret,id=x,required=true cat /run/secrets/x\n", cloud.DeployFailed, "secret"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, _, err := r.build(t, c.dockerfile)
			wantError(t, err, c.code, c.says)
		})
	}
	for what, b := range map[string]runtime.Build{
		"no Dockerfile":      {Source: t.TempDir()},
		"no folder":          {Source: "/nonexistent"},
		"leads out":          {Source: t.TempDir(), Dockerfile: "../Dockerfile"},
		"absolute":           {Source: t.TempDir(), Dockerfile: "/etc/passwd"},
		"folder, not a file": {Source: "/", Dockerfile: "etc"},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := r.Build(t.Context(), b); cloud.CodeOf(err) != cloud.Invalid {
				t.Errorf("%v", err)
			}
		})
	}
	_, err := r.Build(t.Context(), runtime.Build{Source: r.source(t, map[string]string{"Dockerfile": base}), Target: "nosuch"})
	wantError(t, err, cloud.DeployFailed, "nosuch")
}

// What a failed step is told with: its name, how it ended and its last twenty lines.
func TestFailingStep(t *testing.T) {
	r := newRig(t, nil)
	_, log, err := r.build(t, base+"RUN true\nRUN lines 30 && exit 7\n")
	wantError(t, err, cloud.DeployFailed, "[3/3] RUN lines 30 && exit 7", "code 7", "line 30", "line 11")
	if strings.Contains(err.Error(), "line 10\n") {
		t.Errorf("more than twenty lines: %v", err)
	}
	if !strings.Contains(log, "line 1\n") {
		t.Errorf("log: %q", log)
	}
	_, _, err = r.build(t, base+"RUN nosuchcommand\n")
	wantError(t, err, cloud.DeployFailed, "RUN nosuchcommand", "not found")
	r.assertClean(t)
}

// An imported image under a name of ours is a base that needs no registry.
func TestFromLocal(t *testing.T) {
	r := newRig(t, nil)
	sh, err := os.ReadFile(r.sh)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	w.WriteHeader(&tar.Header{Name: "bin/sh", Mode: 0o755, Size: int64(len(sh))})
	w.Write(sh)
	w.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", goruntime.GOARCH
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("other/base:latest")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		t.Fatal(err)
	}
	got, err := r.images.Import(t.Context(), &archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"micro.local/base", "base:1"} {
		if err := r.images.Tag(t.Context(), got.Digest, n); err != nil {
			t.Fatal(err)
		}
		if _, log, err := r.build(t, "FROM "+n+"\nRUN echo based on "+n+"\n"); err != nil || !strings.Contains(log, "based on "+n) {
			t.Errorf("FROM %s: %q, %v", n, log, err)
		}
	}
}

// What a push of an unchanged folder costs.
func BenchmarkUnchanged(b *testing.B) {
	r := newRig(b, nil)
	src := r.source(b, map[string]string{"Dockerfile": base + "RUN true\n"})
	for b.Loop() {
		if _, err := r.Build(b.Context(), runtime.Build{Name: "shop", Source: src}); err != nil {
			b.Fatal(err)
		}
	}
}
