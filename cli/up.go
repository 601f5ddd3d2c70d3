package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// workerKey is the one setting whose flag has no value.
const workerKey = "worker"

// nodeFlags are the settings of a node, by the names that config knows them by.
func nodeFlags() []urfave.Flag {
	text := map[string]string{
		"data":            "keep everything in folder `DIR` (default " + config.DefaultData + ")",
		"key":             "the cloud's key is in `FILE` (default the data folder's name with .key)",
		"name":            "the node's `NAME` (default the machine's)",
		"domain":          "the private `DOMAIN` (default what it was, at first " + string(config.DefaultDomain) + ")",
		"http":            "internal hosts on `IP:PORT`; may be repeated (default 127.0.0.1:80, else :8080)",
		"https":           "internal hosts by TLS on `IP:PORT`; may be repeated (default :443, else :8443)",
		"public-http":     "public hosts on `IP:PORT`; may be repeated (default none)",
		"public-https":    "public hosts by TLS on `IP:PORT`; may be repeated (default none)",
		"http3":           "`on`: HTTP/3 too, on the UDP ports of https and public-https (default off)",
		"certs":           "certificates of others are in file or folder `PATH`; may be repeated",
		"acme-directory":  "certificates of public hosts are ordered at `URL` (default Let's Encrypt's)",
		"acme-email":      "the certificate authority may write to `ADDRESS`",
		"acme-ca":         "`FILE` has who vouches for a private acme-directory",
		"acme-eab-kid":    "the `ID` of an account that the authority has already",
		"acme-eab-key":    "`FILE` has the key of that account",
		"dns":             "DNS on `IP:PORT`; may be repeated (default 127.0.0.1:53, else :5354)",
		"public-dns":      "DNS for the world on `IP:PORT`, see micro domain; may be repeated (default none)",
		"dns-upstream":    "ask `IP` for other names; may be repeated, or a file (default /etc/resolv.conf)",
		"dns-private":     "private addresses of other names to allow: `CIDR` or a domain; may be repeated",
		"dns-rate":        "at most `N` answers a second to each neighbouring network (default 200)",
		"trusted-proxies": "believe proxies in `CIDR` about their clients; may be repeated (default none)",
		"proxy-protocol":  "on: trusted proxies speak the PROXY protocol; or their `CIDR` (default off)",
		"subnet":          "addresses of instances from `CIDR` (default a /20 that is free)",
		"overlay":         "reach other nodes by `MODE`: wireguard or direct (default wireguard)",
		"overlay-port":    "WireGuard listens on UDP `PORT` (default 51820, if free)",
		"api":             "the API for other machines on `IP:PORT`, by TLS; may be repeated (default none)",
		"admin-group":     "members of group `NAME` may use the API without logging in (default micro)",
		"admin-role":      "members of the admin group have `ROLE` in the whole cloud (default admin)",
		"log-limit":       "keep at most `SIZE` of log of each app (default 64M)",
		"audit-lines":     "keep at least the last `N` lines of the audit log (default 20000)",
		"registry-config": "credentials of registries are in `FILE`, as docker login writes it",
		"registry-certs":  "certificates of registries are in `DIR` (default /etc/containerd/certs.d)",
		"image-size":      "refuse images of more than `SIZE`, unpacked (default 32G)",
		"upload-size":     "refuse folders of more than `SIZE` (default 8G)",
		"upload-files":    "refuse folders of more than `N` files (default 200000)",
		"disk-free":       "pulls and builds leave `SIZE` of the disk free (default 1G)",
		"build-time":      "a build may take `TIME` (default 30m)",
		"build-memory":    "builds may use `SIZE` of memory together (default half of the machine's)",
		"build-cpu":       "builds may use `N` cores together (default all)",
		"build-pids":      "builds may have `N` processes together (default 4096)",
		"build-cache":     "the build cache may grow to `SIZE` (default 10G)",
		"join":            "join the cloud that made `TOKEN`",
		"worker":          "other machines can't connect to this one (NAT): it joins and connects to them",
		"cluster":         "other nodes reach this one on `IP:PORT` (default port 6427)",
		"recover":         "be the whole cloud, with this node's copy of its store: `WORD` is lost-all-others",
		"store":           "the cloud's store is your own etcd at `URL`, etcd://HOST:PORT/PREFIX",
		"store-password":  "`FILE` has the password of the store's user",
		"store-ca":        "`FILE` has who vouches for a store at etcds://",
		"store-cert":      "show that store the certificate in `FILE`",
		"store-key":       "`FILE` has that certificate's key",
		"containerd":      "use the containerd at `ADDRESS`; not supported yet",
	}
	var flags []urfave.Flag
	for _, key := range config.Keys() {
		if key == workerKey {
			flags = append(flags, &urfave.BoolFlag{Name: key, Usage: text[key]})
			continue
		}
		flags = append(flags, newRepeated(key, "", text[key]))
	}
	return flags
}

// nodeConfig reads a node's settings: flags, then MICRO_*, then the file.
func (c *command) nodeConfig(u *urfave.Context) (config.Node, error) {
	file := config.DefaultFile
	if f, ok := c.Env("MICRO_CONFIG"); ok && f != "" {
		file = f
	}
	settings, err := config.File(file)
	if err != nil {
		return config.Node{}, err
	}
	flags := func(key string) ([]string, string) {
		if !u.IsSet(key) {
			return nil, ""
		}
		if key == workerKey {
			return []string{strconv.FormatBool(u.Bool(key))}, "--" + key
		}
		return valuesOf(u, key), "--" + key
	}
	return config.Load(flags, config.Env(c.Env), settings)
}

func (c *command) up() *urfave.Command {
	return c.new("up", "", "run a node", 0, 0, append(nodeFlags(), detach,
		&urfave.BoolFlag{Name: "upgrade", Usage: "have the node that runs replaced by this program; its apps run on"}), func(u *urfave.Context) error {
		cfg, err := c.nodeConfig(u)
		if err != nil {
			return err
		}
		if u.Bool("upgrade") {
			return c.upgradeHere(u.Context, cfg)
		}
		if u.Bool("detach") {
			return c.upDetached(u.Context, cfg, u.IsSet("data"))
		}
		return c.Up(u.Context, cfg, func(n api.Node) {
			c.sayReady(n)
			c.warn(n)
			if u.IsSet("data") {
				c.say("%s lets other commands find this node", exportData(cfg))
			}
			c.say("Ctrl-C ends the node; its apps run on")
		})
	})
}

func (c *command) sayReady(n api.Node) {
	c.say("micro %s is up: node %s, process %d", n.Version, n.Name, n.PID)
	c.say("  apps     http://APP.localhost%s, http://APP.%s%s", port(n.HTTP), n.Domain, port(n.HTTP))
	if len(n.Public) > 0 {
		c.say("  public   %s", strings.Join(n.Public, ", "))
	}
	c.say("  dns      %s", strings.Join(n.DNS, ", "))
	c.say("  data     %s", n.Data)
	if len(n.API) > 0 {
		c.say("  api      %s\n           %s", strings.Join(n.API, ", "), n.Fingerprint)
	}
}

func (c *command) warn(n api.Node) {
	for _, w := range n.Warnings {
		c.say("warning: %s", w)
	}
}

// port is ":8080" of the first address, nothing for 80.
func port(addrs []string) string {
	if len(addrs) == 0 {
		return ""
	}
	p := addrs[0][strings.LastIndex(addrs[0], ":"):]
	if p == ":80" {
		return ""
	}
	return p
}

// exportData is the shell's line after which commands speak to a node whose data is not in the default folder.
func exportData(cfg config.Node) string { return "export MICRO_DATA=" + cloud.ShellQuote(cfg.Data) }

// upDetached starts a node as a process of its own, and returns when it answers. flagged says that only a flag names its
// data folder.
func (c *command) upDetached(ctx context.Context, cfg config.Node, flagged bool) error {
	self, err := os.Executable()
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot find micro's own program: %w", err)
	}
	if runtime.GOOS != "linux" {
		return c.Up(ctx, cfg, func(api.Node) {}) // which says why not
	}
	if os.Geteuid() != 0 {
		return cloud.Errorf(cloud.Denied, "micro up must be run as root: it creates containers and networks").WithCommand("sudo micro up --detach")
	}
	if err := os.MkdirAll(cfg.Data, 0o711); err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot make the data folder: %w", err).WithHint("choose another with --data")
	}
	if err := config.CheckData(cfg.Data); err != nil {
		return err
	}
	logPath := cfg.Data + "/micro.log"
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot write to the data folder: %w", err).WithHint("choose another with --data")
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return cloud.Errorf(cloud.Internal, "cannot find the end of %s: %w", logPath, err)
	}
	args := withoutDetach(c.Args[1:])
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = ownSession() // it outlives this terminal
	if err := cmd.Start(); err != nil {
		return cloud.Errorf(cloud.Internal, "cannot start the node: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(ended)
	}()
	client, err := api.New(cfg.Target())
	if err != nil {
		return err
	}
	defer client.Close()
	deadline := time.After(60 * time.Second)
	for {
		node, err := client.Node(ctx)
		if err == nil && node.Ready && node.PID == cmd.Process.Pid {
			c.sayReady(node)
			c.say("  log      %s", logPath)
			c.warn(node)
			if flagged {
				c.say("%s lets other commands find this node, and micro down remove it from this machine", exportData(cfg))
			} else {
				c.say("micro down removes it from this machine")
			}
			return nil
		}
		select {
		case <-ended:
			return detachedFailed(logPath, from, cmd.ProcessState.ExitCode())
		case <-deadline:
			return cloud.Errorf(cloud.Unavailable, "the node is not ready after 60 s").WithHint("look at %s", logPath)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func withoutDetach(args []string) []string {
	var kept []string
	for _, a := range args {
		if a != "--detach" && a != "-d" && a != "--detach=true" {
			kept = append(kept, a)
		}
	}
	return kept
}

// detachedFailed is the error that the node ended with, as its log has it.
func detachedFailed(path string, from int64, code int) error {
	said := "the node ended at once"
	hint := "look at " + path
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		if b, err := io.ReadAll(io.NewSectionReader(f, from, 64<<10)); err == nil {
			for line := range strings.Lines(string(b)) {
				line = strings.TrimSpace(line)
				if m, ok := strings.CutPrefix(line, "error: "); ok {
					said = m
				}
				if m, ok := strings.CutPrefix(line, "panic: "); ok {
					said = "the node crashed: " + m
				}
				if m, ok := strings.CutPrefix(line, "hint: "); ok {
					hint = m
				}
			}
		}
	}
	e := cloud.Errorf(cloud.Internal, "%s", said)
	for _, k := range cloud.Codes() {
		if k.Exit() == code {
			e.Code = k
		}
	}
	return e.WithHint("%s", hint)
}

// downCommand is named so because "down" alone reads like a state.
func (c *command) downCommand() *urfave.Command {
	return c.new("down", "", "stop the node and its apps, and remove what micro made on this machine; the data stays", 0, 0, nodeFlags(), func(u *urfave.Context) error {
		cfg, err := c.nodeConfig(u)
		if err == nil && !u.IsSet("data") {
			cfg.Data, err = c.dataOfTarget(cfg.Data)
		}
		if err != nil {
			return err
		}
		client, err := api.New(cfg.Target())
		if err != nil {
			return err
		}
		defer client.Close()
		node, err := client.Node(u.Context)
		switch {
		case cloud.CodeOf(err) == cloud.Unavailable:
			if err := c.Down(u.Context, cfg); err != nil {
				return err
			}
			c.say("the node in %s is down; micro up runs its apps again", cfg.Data)
			return nil
		case err != nil:
			return err
		}
		if err := client.Down(u.Context); err != nil {
			return err
		}
		return c.waitEnd(u.Context, node)
	})
}

// dataOfTarget returns the data folder of the node that MICRO_TARGET names, which must be of this machine; data
// where it names none.
func (c *command) dataOfTarget(data string) (string, error) {
	target, ok := c.Env("MICRO_TARGET")
	if !ok || target == "" {
		return data, nil
	}
	socket, local := strings.CutPrefix(target, "unix://")
	if !local || filepath.Base(socket) != "micro.sock" {
		return "", cloud.Errorf(cloud.Invalid, "MICRO_TARGET is %s, and micro down works on the machine where it is typed", target).
			WithHint("run it there, or name the folder of a node of this machine with --data")
	}
	return filepath.Dir(socket), nil
}

// waitEnd returns when the node's process has ended.
func (c *command) waitEnd(ctx context.Context, node api.Node) error {
	deadline := time.After(2 * time.Minute)
	for {
		if ended(node.PID) {
			c.say("node %s is down; micro up runs its apps again", node.Name)
			return nil
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", node.PID)); err == nil && strings.Contains(string(b), ") Z ") {
			c.say("node %s is down; micro up runs its apps again", node.Name)
			return nil
		}
		select {
		case <-deadline:
			return cloud.Errorf(cloud.Unavailable, "process %d has not ended after 2 min", node.PID).WithHint("look at its log")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
