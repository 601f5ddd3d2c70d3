package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// offline is a command line whose node is not there.
func offline(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"MICRO_DATA": t.TempDir()}
	code = Main(System{
		Args: append([]string{"micro"}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
	})
	return out.String(), errs.String(), code
}

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"pus"}, "push pushes"},
		{[]string{"ro"}, "rotate rollback role routes"},
		{[]string{"push", "--ins"}, "--instances"},
		{[]string{"up", "--d"}, "--data --domain --dns --dns-upstream --dns-private --dns-rate --disk-free --detach"},
		{[]string{"image", ""}, "load list remove"},
		{[]string{"completion", ""}, "bash fish powershell zsh"},
		{[]string{"completion", "z"}, "zsh"},
		{[]string{"push", "--strategy", ""}, "rolling cutover recreate"},
		{[]string{"push", "--strategy", "re"}, "recreate"},
		{[]string{"push", "--strategy=re"}, "--strategy=recreate"},
		{[]string{"push", "-m", ""}, ""},
		{[]string{"logs", "shop", "--stream", "r"}, "router"},
		{[]string{"crossfade", "p"}, "pause"},
		{[]string{"exec", "shop", "--", "p"}, ""},
		{[]string{"xyzzy"}, ""},
		{[]string{"app", ""}, ""}, // no node answers
		{nil, ""},
	} {
		out, errs, code := offline(t, append([]string{"__complete"}, tt.words...)...)
		if got := strings.Join(strings.Fields(out), " "); got != tt.want || errs != "" || code != 0 {
			t.Errorf("%q: %q, %q, exit code %d; want %q", tt.words, got, errs, code, tt.want)
		}
	}
}

// Each shell reads its script without complaint. Debian has no PowerShell.
func TestCompletionScripts(t *testing.T) {
	for shell := range completions {
		out, errs, code := offline(t, "completion", shell)
		if code != 0 || errs != "" || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit code %d, %s", shell, code, errs)
		}
		if shell == "powershell" {
			continue
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Errorf("no %s to read its script: make deps installs it", shell)
			continue
		}
		cmd := exec.CommandContext(t.Context(), path, "-n")
		cmd.Stdin = strings.NewReader(out)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, said)
		}
	}
}

func TestNoNode(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"apps"}, {"ps", "--json"}, {"push", folder}, {"logs", "shop"}, {"routes"}, {"doctor"}, {"events", "-f"}} {
		_, errs, code := offline(t, args...)
		if code != 6 || !strings.Contains(errs, "hint: sudo micro up") {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
}
