package main_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/protoduction/micro/"

// parts are what a node consists of. They know of cloud.State and not of each other: node joins them
// through interfaces of one to three methods, which each part declares for itself.
var parts = []string{"router", "dnsd", "runtime", "store", "cluster", "access"}

// walls say who may import what of others, tests apart.
var walls = []struct {
	library string
	only    []string
	why     string
}{
	{"github.com/containerd/", []string{"runtime"}, "what a container is made of is the runner's secret: the rest sees runtime.Driver, which a test can fake"},
	{"github.com/moby/buildkit", []string{"runtime/build"}, "BuildKit runs in a process of its own; nothing else may come to need it in the node's"},
	{"github.com/go-git/", []string{"runtime/build"}, "repositories are a source of builds and of nothing else"},
	{"go.etcd.io/bbolt", []string{"store/boltkv"}, "one package knows the engine, so that etcd can replace it"},
	{"go.etcd.io/etcd", []string{"store/etcdkv", "cluster"}, "one node works without etcd, and other packages work with any engine"},
	{"golang.zx2c4.com/wireguard", []string{"runtime/network"}, "the rest of the node sees addresses, and not how their packets travel"},
	{"golang.org/x/net/http2", []string{"router/h2"}, "the router's core speaks one protocol, and knows of no other"},
	{"github.com/quic-go/quic-go", []string{"router/h3", "bench/router"}, "the router's core speaks one protocol, and knows of no other"},
	{"github.com/mholt/acmez", []string{"router/certs"}, "the router takes a handshake, wherever its certificates come from"},
	{"github.com/coreos/go-oidc", []string{"access/oidc"}, "one package knows the provider's protocol: all else knows people"},
	{"golang.org/x/oauth2", []string{"access/oidc"}, "one package knows the provider's protocol: all else knows people"},
	{"github.com/miekg/dns", []string{"dnsd"}, "the zone is ours; the wire format is dnsd's alone"},
	{"github.com/danielgtaylor/huma", []string{"api"}, "the framework of the API is not the cloud's"},
	{"filippo.io/age", []string{"store/seal"}, "one package knows how secrets are sealed: all else has cloud.Sealed"},
	{"github.com/minio/minio-go", []string{"backup"}, "one package knows how S3 is spoken: all else has places"},
	{"github.com/urfave/cli", []string{"cli"}, "flags end where the command line ends"},
}

// depends says which packages of ours a package may need, however indirectly.
var depends = []struct {
	who  string
	only []string
	why  string
}{
	{"cloud", []string{"cloud"}, "the words stand on nothing: everything else is said in them"},
	{"traffic", []string{"traffic", "cloud"}, "deciding is pure"},
	{"leader", []string{"leader", "cloud", "traffic"}, "what one node of a cloud does is decided from the state, and says by small interfaces what it needs of a node"},
	{"api$", []string{"cloud"}, "the contract is what a client needs, and a client is not a node"},
	{"api/handler", []string{"api", "cloud", "runtime$"}, "the server is told what to serve: it sees contracts, and no part that carries them out"},
	{"deploy", []string{"deploy", "api$", "cloud", "runtime$"}, "a push is carried out by whatever builds, stores and runs, behind interfaces: so it can be tested without any of them, and be begun by others than the HTTP server"},
	{"backup", []string{"backup", "cloud"}, "a file and its place: what the data is, and how it is encrypted, others know"},
	{"task", []string{"task", "api$", "cloud"}, "how far something is, is told in words of the API, whatever it is"},
	{"volumes", []string{"volumes", "task", "api$", "cloud"}, "folders and what is done with them: who pauses apps, and reaches other nodes, is behind interfaces"},
	{"services", []string{"services", "task", "api$", "cloud", "runtime$"}, "a service is an app: this package knows kinds and accounts, and runs commands by an interface"},
	{"access", []string{"access", "cloud"}, "who calls is found out by what the State has, whatever keeps it"},
	{"config", []string{"config", "cloud"}, "settings are read before there is anything to set"},
	{"hostdns", []string{"hostdns", "cloud"}, "it changes the machine that the command line runs on, where there may be no node"},
	{"hosttrust", []string{"hosttrust", "cloud"}, "it changes the machine that the command line runs on, where there may be no node"},
	{"cli", []string{"cli", "api$", "cloud", "config", "hostdns", "hosttrust", "packaging"}, "the command line has no way round the API"},
}

type pkg struct {
	ImportPath, Name, Dir string
	GoFiles               []string
	Imports, Deps         []string
}

// rel is the package's folder in the module, "." for the module's own.
func (p pkg) rel() string {
	if rel, ok := strings.CutPrefix(p.ImportPath, module); ok {
		return rel
	}
	return "."
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// within tells whether a folder is one of folders, or below one that does not end in "$".
func within(folder string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return folder == strings.TrimSuffix(f, "$") || strings.HasPrefix(folder, f+"/")
	})
}

// TestWallsExist checks that the rules of TestWalls name packages that exist, because a rule for a renamed package can't
// fail. A library that nobody imports yet may name a package of the future.
func TestWallsExist(t *testing.T) {
	all := list(t)
	uses := func(library string, folders ...string) bool {
		return slices.ContainsFunc(all, func(p pkg) bool {
			return (len(folders) == 0 || within(p.rel(), folders...)) &&
				slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, strings.TrimSuffix(library, "/")) })
		})
	}
	for _, w := range walls {
		for _, only := range w.only {
			if uses(w.library) && !uses(w.library, only) {
				t.Errorf("%s may import %s, but does not", only, w.library)
			}
		}
	}
	for _, d := range depends {
		for _, name := range append([]string{d.who}, d.only...) {
			if !slices.ContainsFunc(all, func(p pkg) bool { return within(p.rel(), name) }) {
				t.Errorf("the dependencies of %s name %s, which does not exist", d.who, name)
			}
		}
	}
}

func TestWalls(t *testing.T) {
	for _, p := range list(t) {
		for _, w := range walls {
			for _, imported := range p.Imports {
				if within(imported, strings.TrimSuffix(w.library, "/")) && !within(p.rel(), w.only...) {
					t.Errorf("%s imports %s, which only %s may: %s", p.rel(), imported, strings.Join(w.only, " and "), w.why)
				}
			}
		}
		for _, d := range depends {
			for _, dep := range p.Deps {
				if ours, ok := strings.CutPrefix(dep, module); ok && within(p.rel(), d.who) && !within(ours, d.only...) {
					t.Errorf("%s needs %s; it may need only %s: %s", p.rel(), ours, strings.Join(d.only, ", "), d.why)
				}
			}
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module+"testdata/") && !within(p.rel(), "bench") {
				t.Errorf("%s needs %s, which is for tests and measuring", p.rel(), strings.TrimPrefix(dep, module))
			}
		}
		if p.rel() != "." && p.rel() != "program" && slices.Contains(p.Deps, module+"program") {
			t.Errorf("%s needs program, which is micro as a whole", p.rel())
		}
		for _, top := range []string{"cli", "node"} {
			if p.rel() != "." && !within(p.rel(), top, "program") && slices.Contains(p.Deps, module+top) {
				t.Errorf("%s needs %s, which is above it: only program joins the two", p.rel(), top)
			}
		}
		testParts(t, p)
	}
}

func testParts(t *testing.T, p pkg) {
	for _, part := range parts {
		if !within(p.rel(), part) {
			continue
		}
		for _, dep := range p.Deps {
			ours, ok := strings.CutPrefix(dep, module)
			if ok && within(ours, parts...) && !within(ours, part) {
				t.Errorf("%s needs %s: parts of a node meet in node, through an interface that %s declares", p.rel(), ours, part)
			}
		}
	}
}

// vague names say where code was put, not what it is. Ours have a reason each.
var (
	vague  = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "misc", "base", "shared", "lib"}
	called = map[string]string{
		"runtime/engine/helpers": "the design's word for the three programs that a release binary carries",
	}
)

func TestPackageNames(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) == 0 {
			continue // nothing but tests
		}
		if slices.Contains(vague, path.Base(p.rel())) && called[p.rel()] == "" {
			t.Errorf("%s: a package is called after what it provides; %q says nothing of that", p.rel(), path.Base(p.rel()))
		}
		if p.Name != "main" && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go to say what it owns and what always holds there", p.rel())
		}
	}
}

// maxLines is where a file has long stopped being about one thing.
const maxLines = 600

func TestFileLengths(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != "." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".go":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		generated := bytes.HasPrefix(text, []byte("// Code generated "))
		if lines := bytes.Count(text, []byte("\n")); lines > maxLines && !generated {
			t.Errorf("%s has %d lines, %d at most: one file, one noun", file, lines, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
