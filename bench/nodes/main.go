// Command nodes measures what a second node costs: the CPU time of the router for a request to an instance on its own
// node and on another one, by direct routes and by WireGuard, and how fast a large body passes. Two nodes run in network
// namespaces of this machine, and the app is this program too. It needs root, ip and nsenter.
//
//	bench-nodes -micro bin/micro
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	micro := flag.String("micro", "bin/micro", "the program to measure")
	load := flag.String("load", "", "only send requests to this URL, and print what the processes of the arguments used")
	flag.Parse()
	var err error
	switch {
	case flag.Arg(0) == "serve":
		err = serve()
	case *load != "":
		err = send(os.Stdout, *load, flag.Args())
	default:
		err = measure(os.Stdout, *micro)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve is the app: it answers 13 bytes, or with what it gets.
func serve() error {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Hello, world") })
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	return http.ListenAndServe(":8080", nil)
}

// lab is two nodes on a network of their own.
type lab struct {
	dir, micro, mode string
}

func measure(w io.Writer, micro string) error {
	micro, err := filepath.Abs(micro)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "overlay\tinstance on\trequests a second\tCPU of its own node's micro\tof the other's\t64 MiB there and back")
	for _, mode := range []string{"direct", "wireguard"} {
		l := &lab{micro: micro, mode: mode}
		err := l.measure(table)
		l.remove()
		if err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return table.Flush()
}

func (l *lab) measure(w io.Writer) (err error) {
	if l.dir, err = os.MkdirTemp("", "bench-nodes"); err != nil {
		return err
	}
	if err := l.app(); err != nil {
		return err
	}
	if err := l.network(); err != nil {
		return err
	}
	if _, err := l.up(1); err != nil {
		return err
	}
	if _, err := l.in(1, l.micro, "cluster", "start"); err != nil {
		return err
	}
	token, err := l.in(1, l.micro, "cluster", "token")
	if err != nil {
		return err
	}
	if _, err := l.up(2, "--join", strings.TrimSpace(token)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for k, where := range []string{"the router's node", "the other node"} {
		manifest := fmt.Sprintf("applications:\n- name: bench\n  x-micro: {place: {node: n%d}}\n", k+1)
		if err := os.WriteFile(filepath.Join(l.dir, "app/micro.yml"), []byte(manifest), 0o644); err != nil {
			return err
		}
		if _, err := l.in(1, l.micro, "push", filepath.Join(l.dir, "app")); err != nil {
			return err
		}
		got, err := l.in(1, self, "-load", "http://"+address(1), l.pid(1), l.pid(2))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.mode, where, strings.TrimSpace(got))
	}
	return nil
}

// app makes the folder that is pushed.
func (l *lab) app() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	folder := filepath.Join(l.dir, "app")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "app"), program, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte("FROM scratch\nCOPY app /app\nCMD [\"/app\", \"serve\"]\n"), 0o644)
}

func address(k int) string { return fmt.Sprintf("198.18.9.%d", k) }

// name is the bridge's, and host that of a node's namespace and port. The kernel deletes them with a delay, so that each
// measurement has others.
func (l *lab) name() string      { return "mbench-" + l.mode[:1] }
func (l *lab) host(k int) string { return fmt.Sprintf("%s%d", l.name(), k) }

func (l *lab) network() error {
	commands := "ip link add NAME type bridge\nip link set NAME up\n"
	for k := 1; k <= 2; k++ {
		commands += strings.NewReplacer("HOST", l.host(k), "ADDR", address(k)).Replace("ip netns add HOST\nip link add HOST master NAME type veth peer name eth0 netns HOST\n" +
			"ip link set HOST up\nip -n HOST addr add ADDR/24 dev eth0\nip -n HOST link set lo up\nip -n HOST link set eth0 up\n")
	}
	for line := range strings.Lines(strings.ReplaceAll(commands, "NAME", l.name())) {
		if _, err := run(nil, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) data(k int) string { return filepath.Join(l.dir, fmt.Sprintf("n%d", k)) }

func (l *lab) up(k int, flags ...string) (string, error) {
	return l.in(k, append([]string{l.micro, "up", "--detach", "--key", l.data(k) + ".key", "--name", fmt.Sprintf("n%d", k),
		"--http", address(k) + ":80", "--dns", "127.0.0.1:53", "--overlay", l.mode}, flags...)...)
}

// pid returns the process of a node.
func (l *lab) pid(k int) string {
	pid, _ := os.ReadFile(filepath.Join(l.data(k), "lock"))
	return strings.TrimSpace(string(pid))
}

// in runs a command on a node's machine.
func (l *lab) in(k int, args ...string) (string, error) {
	return run([]string{"MICRO_DATA=" + l.data(k)}, append([]string{"nsenter", "--net=/run/netns/" + l.host(k)}, args...)...)
}

// remove removes whatever there is, also of a measurement that failed half way.
func (l *lab) remove() {
	for k := 1; k <= 2; k++ {
		_, _ = l.in(k, l.micro, "down", "--key", l.data(k)+".key", "--name", fmt.Sprintf("n%d", k))
		// Connections of a namespace may keep it for minutes after its last process.
		_, _ = run(nil, "ip", "link", "del", l.host(k))
		_, _ = run(nil, "ip", "netns", "del", l.host(k))
	}
	_, _ = run(nil, "ip", "link", "del", l.name())
	_ = os.RemoveAll(l.dir)
}

func run(env []string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var failed strings.Builder
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, failed.String())
	}
	return string(out), nil
}
