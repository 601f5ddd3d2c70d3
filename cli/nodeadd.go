package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/packaging"
)

const (
	// addTokenLife is how long the token of a node that is added is good for: it is used at once.
	addTokenLife = 15 * time.Minute
	// addUndoTime is how long taking a failed addition back may take.
	addUndoTime = 30 * time.Second
)

func (c *command) nodeAdd() *urfave.Command {
	return c.new("add", "ssh://USER@HOST", "install this program on another machine by ssh, and have it join the cloud", 1, 1, []urfave.Flag{
		&urfave.StringFlag{Name: "name", Usage: "the node's `NAME` (default the machine's)"},
		&urfave.StringFlag{Name: "data", Usage: "the node keeps everything in folder `DIR` (default " + config.DefaultData + ")"},
		&urfave.StringFlag{Name: "program", Value: packaging.Program, Usage: "install this program there as `FILE`"},
		&urfave.BoolFlag{Name: "worker", Usage: "other nodes can't connect to it: it connects to them"},
		&urfave.StringFlag{Name: "cluster", Usage: "other nodes reach it on `IP:PORT` (default its own, port 6427)"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		ssh, _ := c.Env("MICRO_SSH")
		machine, err := api.NewSSH(u.Args().First(), strings.Fields(ssh)...)
		if err != nil {
			return err
		}
		a := addition{
			command: c, client: client, machine: machine,
			name: u.String("name"), data: u.String("data"), program: u.String("program"), cluster: u.String("cluster"), worker: u.Bool("worker"),
		}
		if err := a.check(); err != nil {
			return err
		}
		node, err := a.run(ctx)
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(node)
		}
		c.say("node %s is ready at %s", node.Name, node.Addr)
		return nil
	}))
}

// addition adds a machine to the cloud. It takes back what it has done if a step fails.
type addition struct {
	*command
	client  *api.Client
	machine api.SSH

	name, data, program, cluster string
	worker                       bool
	service                      bool     // systemd runs the node
	installed                    bool     // this program is there already
	undo                         []string // lines of the machine's shell, the last one first
}

func (a *addition) check() error {
	var errs []error
	if a.name != "" && cloud.ProcessName(a.name).Validate() != nil {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "invalid node name %q", a.name))
	}
	if !path.IsAbs(a.program) || a.data != "" && !path.IsAbs(a.data) {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "--program and --data are absolute paths of the other machine"))
	}
	if a.cluster != "" {
		_, err := clusterAddr(a.cluster)
		errs = append(errs, err)
	}
	if runtime.GOOS != "linux" {
		errs = append(errs, cloud.Errorf(cloud.Invalid, "this program is for %s, and a node needs Linux", runtime.GOOS).WithHint("give the command on a node of the cloud"))
	}
	return cloud.Join(errs...)
}

func (a *addition) run(ctx context.Context) (node api.ClusterNode, err error) {
	before, err := a.client.Cluster(ctx)
	switch {
	case err != nil:
		return node, err
	case !before.Joinable:
		return node, cloud.Errorf(cloud.Conflict, "this cloud takes no other nodes yet").WithCommand("micro cluster start")
	}
	defer func() {
		if err != nil {
			a.takeBack(before)
		}
	}()
	if err := a.inspect(ctx); err != nil {
		return node, err
	}
	if err := a.ship(ctx); err != nil {
		return node, err
	}
	token, err := a.client.CreateJoinToken(ctx, api.NewJoinToken{Expires: addTokenLife.String()})
	if err != nil {
		return node, err
	}
	a.say("starting the node")
	if err := a.start(ctx, token.Token); err != nil {
		return node, err
	}
	return a.await(ctx, before)
}

// inspectLine prints the machine's system, its processor, its user, whether systemd runs there, the data folder, whether that
// and its key exist, and the digest of the program that is installed.
const inspectLine = `data=%s; data=${data:-${MICRO_DATA:-` + config.DefaultData + `}}; program=%s
uname -s; uname -m; id -u
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then echo systemd; else echo none; fi
echo "$data"
if [ -e "$data/store" ] || [ -e "$data/lock" ]; then echo node; elif [ -e "$data" ]; then echo folder; else echo absent; fi
if [ -e "$data.key" ]; then echo key; else echo nokey; fi
sha256sum "$program" 2>/dev/null || echo absent`

// processors are Go's names of processors by those of uname.
var processors = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// inspect learns what the machine is, and refuses one that can't be a node.
func (a *addition) inspect(ctx context.Context) error {
	a.say("looking at %s", a.machine.Host)
	out, err := a.machine.Run(ctx, format(inspectLine, a.data, a.program), nil)
	if err != nil {
		return err
	}
	said := strings.Split(out, "\n")
	if len(said) != 8 {
		return cloud.Errorf(cloud.Unavailable, "%s answers %q", a.machine.Host, out).WithHint("check that its log-in shell prints nothing of its own")
	}
	host := a.machine.Host
	switch system, processor, user, state := said[0], said[1], said[2], said[5]; {
	case system != "Linux" || processors[processor] != runtime.GOARCH:
		return cloud.Errorf(cloud.Invalid, "%s is a %s machine with %s, and this program is for Linux on %s", host, system, processor, runtime.GOARCH).
			WithHint("install a micro for it there, and join by hand: micro cluster token")
	case user != "0":
		return cloud.Errorf(cloud.Denied, "the user of %s is not root there, and a node needs root", host).WithHint("for example ssh://root@%s", host)
	case state == "node":
		return cloud.Errorf(cloud.Conflict, "%s has the data of a node in %s already", host, said[4]).WithHint("choose another folder with --data, or empty that one if its node is gone for good")
	case state == "absent":
		a.undo = append(a.undo, "rm -rf "+cloud.ShellQuote(said[4]))
	}
	if said[6] == "nokey" {
		a.undo = append(a.undo, "rm -f "+cloud.ShellQuote(said[4]+".key"))
	}
	a.service = said[3] == "systemd" && a.data == "" && said[4] == config.DefaultData
	a.data = said[4]
	return a.noteProgram(said[7])
}

// noteProgram decides whether the program must be shipped, by the digest of the one that is there.
func (a *addition) noteProgram(there string) error {
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot read micro's own program: %w", err)
	}
	defer own.Close()
	h := sha256.New()
	if _, err := io.Copy(h, own); err != nil {
		return cloud.Errorf(cloud.Internal, "cannot read micro's own program: %w", err)
	}
	program := cloud.ShellQuote(a.program)
	switch digest, _, _ := strings.Cut(there, " "); digest {
	case hex.EncodeToString(h.Sum(nil)):
		a.installed = true
	case "absent":
		a.undo = append(a.undo, "rm -f "+program)
	default:
		a.undo = append(a.undo, "mv -f "+program+previousSuffix+" "+program)
	}
	return nil
}

// ship installs this program on the machine, as a whole or not at all.
func (a *addition) ship(ctx context.Context) error {
	if a.installed {
		a.say("%s has this micro already", a.machine.Host)
		return nil
	}
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot read micro's own program: %w", err)
	}
	defer own.Close()
	info, err := own.Stat()
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot read micro's own program: %w", err)
	}
	a.say("installing micro %s as %s (%s)", a.Version.Version, a.program, sizeOf(info.Size()))
	_, err = a.machine.Run(ctx, format(`set -e; program=%s; mkdir -p "$(dirname "$program")"
cat >"$program.new"; chmod 755 "$program.new"
if [ -e "$program" ]; then mv -f "$program" "$program`+previousSuffix+`"; fi
mv -f "$program.new" "$program"`, a.program), bufio.NewReaderSize(own, 1<<20))
	return err
}

// start starts the node there, and returns when it is ready. The token goes by standard input: other users of the machine
// see command lines.
func (a *addition) start(ctx context.Context, token string) error {
	settings := []string{"MICRO_NAME=" + a.name, "MICRO_CLUSTER=" + a.cluster}
	if a.worker {
		settings = append(settings, "MICRO_WORKER=on")
	}
	settings = slices.DeleteFunc(settings, func(s string) bool { return strings.HasSuffix(s, "=") })
	if !a.service {
		line := format(`read -r MICRO_JOIN; export MICRO_JOIN; exec env `+quoted(settings)+` %s up --detach --data %s`, a.program, a.data)
		_, err := a.machine.Run(ctx, line, strings.NewReader(token+"\n"))
		return err
	}
	a.undo = append(a.undo, "systemctl disable --now micro; rm -f /etc/systemd/system/micro.service; systemctl daemon-reload")
	unit := strings.Replace(packaging.Unit, "ExecStart="+packaging.Program+" ", "ExecStart="+a.program+" ", 1)
	_, err := a.machine.Run(ctx, "cat >/etc/systemd/system/micro.service", strings.NewReader(unit))
	if err != nil {
		return err
	}
	// What holds for the first start alone is gone with the next boot.
	_, err = a.machine.Run(ctx, `set -e; umask 077; dir=/run/systemd/system/micro.service.d; mkdir -p $dir; cat >/run/micro-join.env
trap 'rm -rf $dir /run/micro-join.env; systemctl daemon-reload' EXIT
printf '[Service]\nEnvironmentFile=/run/micro-join.env\n' >$dir/join.conf; systemctl daemon-reload
systemctl enable --now micro >&2 || { journalctl -u micro -n 20 -o cat >&2; exit 1; }`, strings.NewReader(strings.Join(append(settings, "MICRO_JOIN="+token), "\n")+"\n"))
	return err
}

// await returns the new node when the cloud sees that it is alive.
func (a *addition) await(ctx context.Context, before api.Cluster) (api.ClusterNode, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		after, err := a.client.Cluster(ctx)
		if err != nil {
			return api.ClusterNode{}, err
		}
		for _, n := range added(before, after) {
			if n.Status == "alive" {
				return n, nil
			}
		}
		if time.Now().After(deadline) {
			return api.ClusterNode{}, cloud.Errorf(cloud.Unavailable, "%s runs micro, and the cloud does not see it", a.machine.Host).WithCommand("micro node list")
		}
		if err := pause(ctx, upgradePoll); err != nil {
			return api.ClusterNode{}, err
		}
	}
}

// added returns the nodes that were not there before.
func added(before, after api.Cluster) (nodes []api.ClusterNode) {
	for _, n := range after.Nodes {
		if !slices.ContainsFunc(before.Nodes, func(o api.ClusterNode) bool { return o.Name == n.Name }) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// takeBack leaves neither the machine nor the cloud anything of an addition that has failed.
func (a *addition) takeBack(before api.Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), addUndoTime)
	defer cancel()
	var errs []error
	if len(a.undo) > 0 {
		// A node that runs, or has left anything on the machine, goes first.
		lines := []string{format("[ ! -e %s/lock ] || %s down --data %s >/dev/null 2>&1", a.data, a.program, a.data)}
		for _, line := range slices.Backward(a.undo) {
			lines = append(lines, line)
		}
		_, err := a.machine.Run(ctx, strings.Join(append(lines, "true"), "\n"), nil)
		errs = append(errs, err)
	}
	if after, err := a.client.Cluster(ctx); err == nil {
		for _, n := range added(before, after) {
			if a.name == "" || string(n.Name) == a.name {
				_, err := a.client.RemoveNode(ctx, n.Name, api.NodeRemoval{Lost: true})
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		a.say("warning: not all of it could be taken back: %v", err)
		return
	}
	a.say("what was begun on %s is taken back", a.machine.Host)
}

// format returns a line of a shell with values in the places of %s, quoted.
func format(line string, values ...string) string {
	quotes := make([]any, len(values))
	for k, v := range values {
		quotes[k] = cloud.ShellQuote(v)
	}
	return fmt.Sprintf(line, quotes...)
}

// quoted returns words of a shell.
func quoted(words []string) string {
	for k, w := range words {
		words[k] = cloud.ShellQuote(w)
	}
	return strings.Join(words, " ")
}
