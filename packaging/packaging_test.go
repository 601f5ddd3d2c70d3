// Package packaging_test checks the systemd unit.
package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnitIsValid(t *testing.T) {
	unit := read(t, "micro.service")
	// systemd also checks that the program exists, so use another one: it need not be installed here.
	dir := t.TempDir()
	program := filepath.Join(dir, "micro")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "micro.service")
	unit = strings.ReplaceAll(unit, "ExecStart=/usr/local/bin/micro", "ExecStart="+program)
	if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", "verify", "--man=no", file)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestUnitKeepsItsPromises checks the settings that restarts, upgrades and the limits of apps depend on.
func TestUnitKeepsItsPromises(t *testing.T) {
	lines := map[string]bool{}
	for line := range strings.Lines(read(t, "micro.service")) {
		lines[strings.TrimSpace(line)] = true
	}
	for _, line := range []string{
		"Type=notify", "NotifyAccess=main", "KillMode=process", "Delegate=yes", "Restart=on-failure", "FileDescriptorStoreMax=64",
		"WatchdogSec=30s", "StateDirectory=micro", "RuntimeDirectory=micro", "RuntimeDirectoryPreserve=yes",
		"ExecStart=/usr/local/bin/micro up",
	} {
		if !lines[line] {
			t.Errorf("no line %q", line)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
