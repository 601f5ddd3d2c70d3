package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDocs runs every ```console block of README.md and docs/*.md: those of one file in their order, in one
// shell, on a node of its own. A line "$ COMMAND" (and "> " for its further lines) is run, the lines below
// are what it prints, standard error and all. In these "…" stands for anything, alone on a line for any
// lines; what no two runs have in common, such as times, counts as equal.
//
// A block that begins with "```sh FILE" is the text of a file, which is written before the next command.
//
// A command must succeed, unless a line of its output begins with "error:" or the next one looks at $?.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append([]string{"README.md"}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if steps := console(string(text)); len(steps) > 0 {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				runSteps(t, file, steps)
			})
		}
	}
}

// step is a command of a document, and what it prints.
type step struct {
	line    int
	command string
	want    []string
	failing bool // it may end with another exit code than 0
}

// console finds the steps in a document's console blocks.
func console(text string) (steps []step) {
	inside, file := false, ""
	for n, line := range strings.Split(text, "\n") {
		switch {
		case file != "":
			s := &steps[len(steps)-1]
			if strings.HasPrefix(line, "```") {
				line, file = "END OF FILE", ""
			}
			s.command += "\n" + line
		case strings.HasPrefix(line, "```sh "):
			file = strings.TrimPrefix(line, "```sh ")
			steps = append(steps, step{line: n + 1, command: "cat >" + file + " <<'END OF FILE'"})
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: n + 1, command: line[2:]})
		case len(steps) == 0:
			steps = append(steps, step{line: n + 1, command: "false # output without a command"})
		default:
			s := &steps[len(steps)-1]
			if more, ok := strings.CutPrefix(line, "> "); ok && len(s.want) == 0 {
				s.command += "\n" + more
				continue
			}
			s.want = append(s.want, line)
			s.failing = s.failing || strings.HasPrefix(line, "error:")
		}
	}
	for i := range steps {
		if i+1 < len(steps) && strings.Contains(steps[i+1].command, "$?") {
			steps[i].failing = true
		}
	}
	return steps
}

func runSteps(t *testing.T, file string, steps []step) {
	d := newDesk(t)
	for _, s := range steps {
		out, code, err := d.run(s.command)
		if err != nil {
			t.Fatalf("%s:%d: %s: %v\n%s", file, s.line, s.command, err, out)
		}
		got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if out == "" {
			got = nil
		}
		if code != 0 && !s.failing || !matches(s.want, got) {
			t.Fatalf("%s:%d: %s: exit code %d\ngot:\n%s\nwant:\n%s", file, s.line, s.command, code, strings.Join(got, "\n"), strings.Join(s.want, "\n"))
		}
	}
}

// desk is where a document's reader sits: a folder with the sample apps, a shell, and a node with the
// addresses that a node has by default, as far as the reader can see.
type desk struct {
	in    io.WriteCloser
	out   *bufio.Reader
	kill  func()
	toDoc *strings.Replacer // what this machine has → what the document has
	toUs  *strings.Replacer
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	n := int(nodes.Add(1))
	dir, err := os.MkdirTemp("", "md") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	// An address of its own has all ports free.
	ip := fmt.Sprintf("127.%d.%d.2", 100+os.Getpid()%100, n)
	data, home, name := filepath.Join(dir, "d"), filepath.Join(dir, "h"), fmt.Sprintf("doc%d", n)
	for _, f := range []func() error{
		func() error { return os.Chmod(dir, 0o711) },
		func() error { return os.MkdirAll(filepath.Join(home, "testdata"), 0o755) },
		func() error { return os.CopyFS(filepath.Join(home, "testdata", "apps"), os.DirFS("testdata/apps")) },
		// Every name is this node's, whatever the resolver says; no progress, as on a terminal.
		func() error {
			return os.WriteFile(filepath.Join(home, ".curlrc"), fmt.Appendf(nil, "silent\nconnect-to = \"::%s:\"\n", ip), 0o600)
		},
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "CI=1", "MICRO_TARGET=", "MICRO_GROUP=", "MICRO_DATA="+data, "MICRO_NAME="+name, "MICRO_HTTP="+ip+":80", "MICRO_DNS="+ip+":53",
		"MICRO_SUBNET="+network(100, n)+".0/20", "MICRO_CONFIG="+filepath.Join(dir, "none.yml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	d := &desk{
		in: in, out: bufio.NewReader(out), kill: func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) },
		toDoc: strings.NewReplacer(data, "/var/lib/micro", filepath.Join(dir, "srv"), "/srv", ip, "127.0.0.1", name, "laptop", home, "~"),
		toUs: strings.NewReplacer("/var/lib/micro", data, "/srv", filepath.Join(dir, "srv"), "127.0.0.1", ip,
			"10.88.16.0/20", network(200, n)+".0/20"), // of a second node
	}
	t.Cleanup(func() {
		if out, code, err := d.run("micro down"); err != nil || code != 0 {
			t.Errorf("micro down: exit code %d, %v\n%s", code, err, out)
		}
		if left := leftOnHost(data); left != "" {
			t.Error("left on the host after micro down: ", left)
		}
		d.kill()
		_ = cmd.Wait() // it was killed
	})
	// The tests are root; go works in the repository, and with the caches of who runs them.
	if _, _, err := d.run(fmt.Sprintf("sudo() { \"$@\"; }; go() { (cd %s && HOME=%s command go \"$@\"); }", repo, os.Getenv("HOME"))); err != nil {
		t.Fatal(err)
	}
	return d
}

// longest is how long a command may take.
const longest = 10 * time.Minute

// run has the shell run a command, and returns what it printed as the document would have it.
func (d *desk) run(command string) (out string, code int, err error) {
	const mark = "--- that was it: "
	timer := time.AfterFunc(longest, d.kill)
	defer timer.Stop()
	if _, err := fmt.Fprintf(d.in, "{ %s\n} </dev/null 2>&1; code=$?; printf '\\n%s%%d\\n' $code; (exit $code)\n", d.toUs.Replace(command), mark); err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for {
		line, err := d.out.ReadString('\n')
		if err != nil {
			return b.String(), 0, fmt.Errorf("the shell has ended: %w", err)
		}
		if number, ok := strings.CutPrefix(line, mark); ok {
			code, err = strconv.Atoi(strings.TrimSpace(number))
			return d.toDoc.Replace(strings.TrimSuffix(b.String(), "\n")), code, err
		}
		b.WriteString(line)
	}
}

// matches compares lines, of which a document may leave some out.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "…" {
		for i := range len(got) + 1 {
			if matches(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && sameLine(want[0], got[0]) && matches(want[1:], got[1:])
}

func sameLine(want, got string) bool {
	want, got = settled(want), settled(got)
	if want == got {
		return true
	}
	parts := strings.Split(want, "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return len(parts) > 1 && regexp.MustCompile("^"+strings.Join(parts, ".*")+"$").MatchString(got)
}

// differing is what no two runs have in common, most specific first.
var differing = []struct{ what, as string }{
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)`, "TIME"},
	{`-\d{8}-r(\d+)`, "-DATE-r$1"},
	{`sha256:[0-9a-f]{64}`, "DIGEST"},
	{`\b[0-9a-f]{32}\b`, "ID"},
	{`(-r\d+-[a-z]+-\d+)-[a-z2-7]{6}\b`, "$1-SUFFIX"},
	{`\b10\.\d+\.\d+\.\d+`, "ADDRESS"},
	{`((un)?ready|starting|draining|stopping|process) +\d+\b`, "$1 NUMBER"},
	{`\b\d+[BKMG]/`, "SIZE/"},
	{`(SIZE/\d+[BKMG]) +\d+\b`, "$1 NUMBER"},
	{`\b\d+(\.\d+)?(ms|µs|s|m|%)( |$)`, "SO MUCH "},
	{`\b\d{4,}\b`, "NUMBER"},
	{`\s+`, " "},
}

// settled is a line without what differs from run to run.
func settled(line string) string {
	for _, d := range differing {
		line = regexp.MustCompile(d.what).ReplaceAllString(line, d.as)
	}
	return strings.TrimSpace(line)
}

// What the documents rest on: a line that is wrong must not pass.
func TestDocsAreCompared(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{"a\nb", "a\nb", true},
		{"a\nb", "a\nc", false},
		{"a", "a\nb", false},
		{"…\nb", "x\ny\nb", true},
		{"…\nb", "x\ny", false},
		{"a … c", "a b c", true},
		{"shop/web.0@r1  ready  812", "shop/web.0@r1  crashed  1000", false},
		{"shop-20261122-r1.micro.test", "shop-20270101-r1.micro.test", true},
		{"shop-20261122-r1.micro.test", "shop-20261122-r2.micro.test", false},
		{"shop/web.0@r1  ready  28341  10.88.0.7:8080  12M/128M", "shop/web.0@r1 ready 1834 10.9.1.2:8080 9M/128M", true},
		{"", "", true},
	} {
		if got := matches(strings.Split(c.want, "\n"), strings.Split(c.got, "\n")); got != c.same {
			t.Errorf("matches(%q, %q) = %v", c.want, c.got, got)
		}
	}
	steps := console("```console\n$ a\n> b\nout\nerror: x\n$ c\n$ echo $?\n```\n```sh\n$ d\n```\n")
	if len(steps) != 3 || steps[0].command != "a\nb" || !slices.Equal(steps[0].want, []string{"out", "error: x"}) ||
		!steps[0].failing || !steps[1].failing || steps[2].failing {
		t.Errorf("steps are %+v", steps)
	}
}
