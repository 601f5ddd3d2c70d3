package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// What is wrong with a value is said before a node is asked, and nothing that was said is dropped.
func TestRefusedValues(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		code cloud.Code
		says string
	}{
		{"push %", cloud.Invalid, "the PATH to push is empty"},
		{"push " + dir + " --app a --var =x", cloud.Invalid, `--var "=x"`},
		{"push " + dir + " --app a --vars-file " + dir, cloud.Invalid, "variables file " + dir},
		{"push --app a --image ./nothing", cloud.NotFound, "there is no archive ./nothing"},
		{"push --app a --image nothing.tar", cloud.NotFound, "there is no archive nothing.tar"},
		{"push --app a --image " + dir, cloud.Invalid, dir + " is a folder"},
		{"image load " + dir, cloud.Invalid, dir + " is a folder"},
		{"image load nothing", cloud.NotFound, "there is no archive nothing"},
		{"scale shop web=-1", cloud.Invalid, `"web=-1" is not PROCESS=N`},
		{"scale shop -i abc", cloud.Invalid, "-i abc: the value is not a whole number"},
		{"scale shop --instances 1.5", cloud.Invalid, "--instances 1.5: the value is not a whole number"},
		{"crossfade www.example.com --to shop@r2 --over soon", cloud.Invalid, "--over soon: the value is not a time, e.g. 10m or 2h"},
		{"crossfade www.example.com --to shop@r2 --errors-margin x", cloud.Invalid, "--errors-margin x: the value is not a number"},
		{"ps --json=maybe", cloud.Invalid, "--json maybe: the value is not true or false"},
		{"scale shop -i -1", cloud.Invalid, "--instances -1"},
		{"scale shop web=1 web=2", cloud.Invalid, `"web=2": the number of instances of web is given twice, first as 1`},
		{"scale shop -i 1 web=2", cloud.Invalid, "first as 1"},
		{"logs shop -n -5", cloud.Invalid, "--lines -5"},
		{"logs shop --since -5m", cloud.Invalid, `"-5m" is neither a time nor how long ago`},
		{"events --since -1h", cloud.Invalid, `"-1h" is neither`},
		{"push " + dir + " --app a --build-arg NOSUCH", cloud.Invalid, `--build-arg "NOSUCH" has no value`},
		{"push " + dir + " --app a --secret src=x", cloud.Invalid, "it has no id"},
		{"push " + dir + " --app a --secret id=x,src=/nonexistent", cloud.Invalid, "/nonexistent: no such file"},
		{"push " + dir + " --app a --secret id=x,env=NOSUCH", cloud.Invalid, "the environment has no NOSUCH"},
		{"push " + dir + " --app a --secret id=x,src=y,env=z", cloud.Invalid, "both src and env"},
		{"push " + dir + " --app a --secret id=x,target=/y", cloud.Invalid, `unknown "target=/y"`},
		{"push " + dir + " --app a --secret id=x,src=/dev/zero", cloud.Invalid, "more than 500 KB"},
		{"push --app a --image redis --build-arg A=1", cloud.Invalid, "--build-arg is for builds"},
		{"push --app a --image redis --secret id=x", cloud.Invalid, "--secret is for builds"},
		{"exec shop -e A -- env", cloud.Invalid, `--env "A"`},
		{"run shop -e =1 -- env", cloud.Invalid, `--env "=1"`},
	} {
		args := strings.Fields(tt.line)
		for i, a := range args {
			args[i] = strings.ReplaceAll(a, "%", "")
		}
		_, errs, code := offline(t, args...)
		if code != tt.code.Exit() || !strings.Contains(errs, tt.says) {
			t.Errorf("%s: exit code %d, %swant %d, %s", tt.line, code, errs, tt.code.Exit(), tt.says)
		}
	}
}
