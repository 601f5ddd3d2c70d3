package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

func TestFacts(t *testing.T) {
	program := filepath.Join(t.TempDir(), "runc")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho runc version 1.2.3\necho spec: 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Version: api.Version{Version: "1.0", Go: "go1.26"}, Runc: program, Shim: program,
		Controllers: func() map[string]string { return map[string]string{"pids": "v2", "cpu": "v1", "memory": "v1"} },
		DiskQuotas:  func() bool { return false }, Listeners: []string{"https", "http"},
	}
	cfg.Settings = config.Node{Overlay: config.Overlay{Mode: cloud.OverlayDirect}, Build: config.Build{Time: time.Hour, Memory: 1 << 30}}
	got := map[string]string{}
	for _, f := range Facts(t.Context(), cfg) {
		if _, twice := got[f.Name]; twice {
			t.Errorf("%s is there twice", f.Name)
		}
		if f.Value == "" || f.Kind != api.MustEqual {
			t.Errorf("%s is %q, %s", f.Name, f.Value, f.Kind)
		}
		got[f.Name] = f.Value
	}
	for name, want := range map[string]string{
		"micro": "1.0", "cgroup": "v1 and v2", "cgroup controllers": "cpu v1, memory v1, pids v2", "runc": "1.2.3", "init": "none", "listeners": "http, https",
		"disk quotas": "measured", "setting build-time": "1h0m0s", "setting build-memory": "1G", "setting build-cpu": "default",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if !strings.HasPrefix(got["program"], "sha256:") || got["shim"] == got["program"] {
		t.Errorf("the program is %s, the shim %s", got["program"], got["shim"])
	}
}

// TestFactsOfBrokenRunc has a runc that is not there, and one that fails.
func TestFactsOfBrokenRunc(t *testing.T) {
	if got := runcVersion(t.Context(), filepath.Join(t.TempDir(), "runc")); got != "" {
		t.Errorf("one that is not there has version %q", got)
	}
	if got := runcVersion(t.Context(), "/bin/false"); !strings.HasPrefix(got, "unknown") {
		t.Errorf("one that fails has version %q", got)
	}
}
