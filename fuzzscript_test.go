package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzzScriptFails checks that scripts/fuzz.sh fails where the fuzz tests of a package can't be listed or fail, and
// runs those of all packages else. The go command is a stand-in.
func TestFuzzScriptFails(t *testing.T) {
	for _, c := range []struct {
		fails string // the stand-in's arguments that begin so fail
		ok    bool
		says  string
	}{
		{"nothing", true, "== b FuzzB"},
		{"list", false, ""},
		{"test -list ^Fuzz b", false, "== a FuzzA"},
		{"test -run ^$ -fuzz ^FuzzA$", false, "== a FuzzA"},
	} {
		dir := t.TempDir()
		script := `#!/bin/sh
case "$*" in
"` + c.fails + `"*) exit 1 ;;
"list ./...") echo a; echo b ;;
"test -list ^Fuzz a") echo FuzzA; echo ok ;;
"test -list ^Fuzz b") echo FuzzB ;;
esac
`
		if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "scripts/fuzz.sh", "1s")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.ok || !strings.Contains(string(out), c.says) {
			t.Errorf("where %q fails: %v\n%s", c.fails, err, out)
		}
	}
}
