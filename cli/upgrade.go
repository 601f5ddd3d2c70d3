package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

const (
	// upgradeTime is how long a node may take from the beginning of its upgrade until it is ready again.
	upgradeTime = 2 * time.Minute
	// upgradePoll is the time between two questions how far an upgrade is.
	upgradePoll = 100 * time.Millisecond
)

// upgradeHere has the node of this machine run the program of this command.
func (c *command) upgradeHere(ctx context.Context, cfg config.Node) error {
	client, err := api.New(cfg.Target())
	if err != nil {
		return err
	}
	defer client.Close()
	node, err := client.Node(ctx)
	switch {
	case cloud.CodeOf(err) == cloud.Unavailable:
		return cloud.Errorf(cloud.NotFound, "no node runs on %s", cfg.Data).WithCommand("sudo micro up")
	case err != nil:
		return err
	case node.Program == "":
		return cloud.Errorf(cloud.Conflict, "micro %s of node %s is older than upgrades without a restart", node.Version, node.Name).
			WithHint("restart it, for example systemctl restart micro")
	}
	own, err := os.Executable()
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot find micro's own program: %w", err)
	}
	before := processOf(node.PID)
	undo, err := install(own, node.Program)
	if err != nil {
		return err
	}
	u, err := client.UpgradeNode(ctx, node.Name)
	if err != nil {
		return errors.Join(err, undo())
	}
	if u.Unchanged {
		c.say("node %s runs this program already: micro %s", node.Name, u.To)
		return nil
	}
	after, err := c.awaitUpgraded(ctx, client, node)
	if err != nil && ended(node.PID) {
		return c.goBack(ctx, client, node, before, errors.Join(err, undo()))
	}
	if err != nil {
		return err
	}
	c.say("node %s is upgraded from micro %s to %s; its apps ran on", node.Name, u.From, after.Version)
	return nil
}

// previousSuffix is what the name of the program before an upgrade ends in.
const previousSuffix = ".previous"

// install puts a program in the place of another one, which is kept as FILE.previous. undo takes that back.
func install(from, to string) (undo func() error, err error) {
	nothing := func() error { return nil }
	source, err := os.Stat(from)
	if err != nil {
		return nothing, cloud.Errorf(cloud.Internal, "cannot read micro's own program: %w", err)
	}
	if there, err := os.Stat(to); err == nil && os.SameFile(source, there) {
		return nothing, nil // it was installed already
	}
	failed := func(err error) error {
		return cloud.Errorf(cloud.Unavailable, "cannot install micro as %s: %w", to, err).WithHint("install it there, and give the command again")
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".micro-")
	if err != nil {
		return nothing, failed(err)
	}
	defer os.Remove(tmp.Name())
	in, err := os.Open(from)
	if err == nil {
		_, err = io.Copy(tmp, in)
		in.Close()
	}
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return nothing, failed(err)
	}
	previous := to + previousSuffix
	if err := os.Rename(to, previous); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nothing, failed(err)
	}
	if err := os.Rename(tmp.Name(), to); err != nil {
		return nothing, errors.Join(failed(err), os.Rename(previous, to))
	}
	return func() error { return os.Rename(previous, to) }, nil
}

// process is how a process was started.
type process struct{ args, env []string }

// processOf returns how a process of this machine was started.
func processOf(pid int) (p process) {
	list := func(name string) []string {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + name) // of a process that is gone there is nothing
		return strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 })
	}
	return process{list("cmdline"), list("environ")}
}

// goBack starts the program before again, which is installed again, after the new one has ended at its start. Where systemd
// runs the node, that does it. cause is why the new one is not there.
func (c *command) goBack(ctx context.Context, client *api.Client, node api.Node, before process, cause error) error {
	supervised := slices.ContainsFunc(before.env, func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
	if !supervised && len(before.args) > 0 {
		log, err := os.OpenFile(filepath.Join(node.Data, "micro.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return errors.Join(cause, err)
		}
		defer log.Close()
		cmd := exec.Command(node.Program, before.args[1:]...)
		cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = before.env, "/", log, log, ownSession()
		if err := cmd.Start(); err != nil {
			return errors.Join(cause, err)
		}
		go func() { _ = cmd.Wait() }() // whether it is ready shows below
	}
	for deadline := time.Now().Add(upgradeTime); time.Now().Before(deadline); {
		if back, err := client.Node(ctx); err == nil && back.Ready {
			return cloud.Errorf(cloud.Unavailable, "the new program did not start; node %s runs micro %s again, and its apps ran on", node.Name, back.Version).
				WithHint("look at the end of its log, for example %s", filepath.Join(node.Data, "micro.log"))
		}
		if err := pause(ctx, upgradePoll); err != nil {
			return errors.Join(cause, err)
		}
	}
	return cause
}

// awaitUpgraded waits until another program answers as the node.
func (c *command) awaitUpgraded(ctx context.Context, client *api.Client, before api.Node) (api.Node, error) {
	deadline := time.Now().Add(upgradeTime)
	for {
		node, err := client.Node(ctx)
		if err == nil && node.Ready && !node.Started.Equal(before.Started) {
			return node, nil
		}
		if time.Now().After(deadline) || ended(before.PID) {
			return node, cloud.Errorf(cloud.Unavailable, "node %s is not ready again; its apps run on", before.Name).
				WithHint("look at its log; %s is the program before: %[1]s up starts it", before.Program+previousSuffix)
		}
		if err := pause(ctx, upgradePoll); err != nil {
			return node, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (c *command) upgradeCluster() *urfave.Command {
	return c.new("upgrade", "[NODE…]", "have nodes run the micro that is installed on their machines, one after the other", 0, -1, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			cluster, err := client.Cluster(ctx)
			if err != nil {
				return err
			}
			names, err := upgradeOrder(cluster, u.Args().Slice())
			if err != nil {
				return err
			}
			done := []api.NodeUpgrade{}
			for k, name := range names {
				one, err := c.upgradeNode(ctx, client, name)
				if err != nil {
					return cloud.Errorf(cloud.CodeOf(err), "%w; %d of %d nodes are done, and the others are as they were", err, k, len(names)).WithHintOf(err)
				}
				done = append(done, one)
			}
			if u.Bool("json") {
				return c.printJSON(done)
			}
			return nil
		}))
}

// upgradeOrder returns the nodes to upgrade: the one that leads comes last, so that the lead moves once.
func upgradeOrder(cluster api.Cluster, wanted []string) (names []cloud.NodeName, err error) {
	var errs []error
	for _, w := range wanted {
		if !slices.ContainsFunc(cluster.Nodes, func(n api.ClusterNode) bool { return string(n.Name) == w }) {
			errs = append(errs, cloud.Errorf(cloud.NotFound, "no node %q in this cloud", w).WithCommand("micro node list"))
		}
	}
	last := cloud.NodeName("")
	for _, n := range cluster.Nodes {
		switch {
		case len(wanted) > 0 && !slices.Contains(wanted, string(n.Name)):
		case n.Leads:
			last = n.Name
		default:
			names = append(names, n.Name)
		}
	}
	if last != "" {
		names = append(names, last)
	}
	return names, cloud.Join(errs...)
}

// upgradeNode upgrades one node and waits until it is ready. The node that answers this command may be the one.
func (c *command) upgradeNode(ctx context.Context, client *api.Client, name cloud.NodeName) (u api.NodeUpgrade, err error) {
	if u, err = client.UpgradeNode(ctx, name); err != nil {
		return u, err
	}
	if u.Unchanged {
		c.say("node %s runs what is installed there: micro %s", name, u.To)
		return u, nil
	}
	c.say("node %s: micro %s takes the place of %s", name, u.To, u.From)
	deadline := time.Now().Add(upgradeTime)
	for {
		n, err := findNode(ctx, client, name)
		switch {
		case err == nil && !n.Upgrading && n.Status == "alive" && n.Version == u.To:
			c.say("node %s is ready", name)
			return u, nil
		case err != nil && ctx.Err() != nil:
			return u, ctx.Err()
		case time.Now().After(deadline):
			return u, cloud.Errorf(cloud.Unavailable, "node %s is not ready again after %s", name, upgradeTime).WithHint("look at its log; the program before is beside it, with the name .previous")
		}
		if err := pause(ctx, upgradePoll); err != nil {
			return u, err
		}
	}
}
