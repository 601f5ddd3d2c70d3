package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestArrange(t *testing.T) {
	c := &command{}
	app := c.app()
	for _, tt := range []struct{ line, want, child string }{
		{"", "micro --", ""},
		{"apps", "micro apps --", ""},
		{"apps --json", "micro apps --json --", ""},
		{"push . --app shop", "micro push --app shop -- .", ""},
		{"push --app shop .", "micro push --app shop -- .", ""},
		{"push --app=shop . -i 2", "micro push --app=shop -i 2 -- .", ""},
		{"push . -i2 -m256M", "micro push -i 2 -m 256M -- .", ""},
		{"push . -e A=1 -e B=-2", "micro push -e A=1 -e B=-2 -- .", ""},
		{"push . -eA=1", "micro push -e A=1 -- .", ""},
		{"push . -i -1", "micro push -i -1 -- .", ""},
		{"scale shop worker=2 -i 3 --json", "micro scale -i 3 --json -- shop worker=2", ""},
		{"logs shop -fn20", "micro logs -fn 20 -- shop", ""},
		{"logs shop -fn 20", "micro logs -fn 20 -- shop", ""},
		{"logs -f shop", "micro logs -f -- shop", ""},
		{"exec shop -it -- sh -c 'ls' -- -x", "micro exec -it -- shop", "sh -c 'ls' -- -x"},
		{"exec -it shop --instance 1 -- sh", "micro exec -it --instance 1 -- shop", "sh"},
		{"exec shop --", "micro exec -- shop", ""},
		{"env shop KEY-", "micro env -- shop KEY-", ""},
		{"image load a.tar --json", "micro image load --json -- a.tar", ""},
		{"up --http :80 --http 127.0.0.2:80", "micro up --http :80 --http 127.0.0.2:80 --", ""},
		{"push -", "micro push -- -", ""},
		{"ps -- shop", "micro ps -- shop", ""},
		{"push --app shop -- .", "micro push --app shop -- .", ""},
		{"env shop -- -A=1 --json", "micro env -- shop -A=1 --json", ""},
		{"--help", "micro --help", ""},
		{"push . --app shop --help", "micro push --help", ""},
		{"image load -h a.tar", "micro image load --help", ""},
	} {
		args, child, err := arrange(app, append([]string{"micro"}, strings.Fields(tt.line)...))
		if err != nil || strings.Join(args, " ") != tt.want || strings.Join(child, " ") != tt.child {
			t.Errorf("%s: %q, child %q, %v; want %q, child %q", tt.line, args, child, err, tt.want, tt.child)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	c := &command{}
	app := c.app()
	for _, tt := range []struct{ line, says, hint string }{
		{"psuh", `unknown command "psuh"`, "did you mean: micro push"},
		{"release shop", `unknown command "release"`, "did you mean: micro releases"},
		{"xyzzy", `unknown command "xyzzy"`, "micro --help"},
		{"image laod x", `unknown command "image laod"`, "did you mean: micro image load"},
		{"ls", `unknown command "ls"`, "did you mean: micro apps"},
		{"rm shop", `unknown command "rm"`, "did you mean: micro delete"},
		{"image rm", `unknown command "image rm"`, "micro image --help"},
		{"xy", `unknown command "xy"`, "micro --help"},
		{"push --instnaces 2", "unknown flag --instnaces; did you mean --instances?", "micro push --help"},
		{"push --instnaces=2", "unknown flag --instnaces; did you mean --instances?", "micro push --help"},
		{"ps -x", "unknown flag -x", "micro ps --help"},
		{"logs shop -fx", "unknown flag -x", "micro logs --help"},
		{"logs shop -xf", "unknown flag -x", "micro logs --help"},
		{"logs shop ---f", "unknown flag ---f", "micro logs --help"},
		{"--json ps", "unknown flag --json before a command", "flags stand behind the command: micro COMMAND --json"},
		{"push . --memory", "flag --memory needs a value", "micro push --help"},
		{"push . -i", "flag -i needs a value", "micro push --help"},
	} {
		_, _, err := arrange(app, append([]string{"micro"}, strings.Fields(tt.line)...))
		if err == nil || err.Error() != tt.says || cloud.HintOf(err) != tt.hint || cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("%s: %v, hint %q; want %s, hint %q", tt.line, err, cloud.HintOf(err), tt.says, tt.hint)
		}
	}
}

// Whatever is written, nothing is lost: every word comes out as it went in, or is an error. Only who asks
// for help gets help alone.
func FuzzArrange(f *testing.F) {
	f.Add("push . --app shop -i 2 -- x")
	f.Add("exec shop -it -- sh -c ls")
	f.Add("- -- --")
	f.Add("ps -- -x")
	c := &command{}
	app := c.app()
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Fields(line)
		args, child, err := arrange(app, append([]string{"micro"}, words...))
		if err != nil {
			if cloud.CodeOf(err) != cloud.Invalid {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		if slices.Contains(words, "-h") || slices.Contains(words, "--help") {
			return
		}
		out := strings.Join(append(args, child...), "")
		in := "micro" + strings.Join(words, "")
		sortedOut, sortedIn := []byte(strings.ReplaceAll(out, "-", "")), []byte(strings.ReplaceAll(in, "-", ""))
		slices.Sort(sortedOut)
		slices.Sort(sortedIn)
		if string(sortedOut) != string(sortedIn) {
			t.Fatalf("%q became %q and %q", line, args, child)
		}
	})
}

// A command about an app does not take one release of it for the app.
func TestReleaseOfAnApp(t *testing.T) {
	for _, line := range []string{"app shop@r1", "releases shop@r1", "diff shop@r1 r1 r2", "events shop@r1"} {
		_, errs, code := offline(t, strings.Fields(line)...)
		if code != cloud.Invalid.Exit() || !strings.Contains(errs, "shop@r1 is one release of it") || !strings.Contains(errs, "\nhint: micro "+strings.Fields(line)[0]+" shop\n") {
			t.Errorf("%s: exit code %d, %s", line, code, errs)
		}
	}
}

func TestAsked(t *testing.T) {
	for _, line := range []string{"version", "--version", "-v"} {
		out, errs, code := offline(t, line)
		if code != 0 || !strings.HasPrefix(out, "micro") || errs != "" {
			t.Errorf("%s: exit code %d, %q, %s", line, code, out, errs)
		}
	}
}
