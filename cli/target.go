package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// targets are the clouds that this person uses, as they are kept in a file of the person's own.
type targets struct {
	Current string            `json:"current,omitempty"`
	Targets map[string]target `json:"targets"`
}

// target is a cloud, and how this person is known to it.
type target struct {
	URL string `json:"url"`
	// Fingerprint is that of the certificate authority that the cloud must show; "" is any that the machine trusts.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Group is the one of names without one.
	Group cloud.GroupName `json:"group,omitempty"`
	// User and Token are those of the last log-in.
	User  string `json:"user,omitempty"`
	Token string `json:"token,omitempty"`
}

// targetsFile is $XDG_CONFIG_HOME/micro/targets.json, by default below ~/.config.
func (c *command) targetsFile() (string, error) {
	if dir, ok := c.Env("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "micro", "targets.json"), nil
	}
	if home, ok := c.Env("HOME"); ok && home != "" && runtime.GOOS != "windows" {
		return filepath.Join(home, ".config", "micro", "targets.json"), nil
	}
	if dir, ok := c.Env("AppData"); ok && dir != "" {
		return filepath.Join(dir, "micro", "targets.json"), nil
	}
	return "", cloud.Errorf(cloud.Invalid, "there is no folder for micro's configuration").WithHint("set HOME or XDG_CONFIG_HOME")
}

// readTargets reads the file; one that is not there has no targets.
func (c *command) readTargets() (targets, error) {
	none := targets{Targets: map[string]target{}}
	path, err := c.targetsFile()
	if err != nil {
		return none, nil // whoever has no home has no targets
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if _, closed := os.Stat(filepath.Dir(path)); closed != nil && errors.Is(err, fs.ErrPermission) {
		return none, nil // a home folder that the user may not enter, as services and sudo -u have it
	}
	if err != nil {
		return none, cloud.Errorf(cloud.Invalid, "cannot read %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return none, cloud.Errorf(cloud.Invalid, "%s is open to others (mode %04o), and tokens are in it", path, info.Mode().Perm()).WithHint("chmod 600 %s", path)
	}
	t := none
	if err := json.Unmarshal(b, &t); err != nil {
		return none, cloud.Errorf(cloud.Invalid, "%s cannot be read: %w", path, err).WithHint("move it away, and add the targets again")
	}
	if t.Targets == nil {
		t.Targets = none.Targets
	}
	return t, nil
}

// writeTargets replaces the file as a whole; nobody else may read it.
func (c *command) writeTargets(t targets) error {
	path, err := c.targetsFile()
	if err != nil {
		return err
	}
	failed := func(err error) error {
		return cloud.Errorf(cloud.Invalid, "cannot write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failed(err)
	}
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return failed(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".targets-*") // with mode 0600
	if err != nil {
		return failed(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return failed(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return failed(err)
	}
	return nil
}

// chosen is the cloud that commands speak to: MICRO_TARGET (a URL or the name of a target), the node of
// MICRO_DATA, the current target, or the node of this machine. name is "" for one that is no target.
func (c *command) chosen() (name string, t target, err error) {
	all, err := c.readTargets()
	if err != nil {
		return "", t, err
	}
	wanted, _ := c.Env("MICRO_TARGET")
	data, _ := c.Env("MICRO_DATA")
	switch {
	case wanted != "" && !strings.Contains(wanted, "://"):
		known, ok := all.Targets[wanted]
		if !ok {
			return "", t, cloud.Errorf(cloud.NotFound, "MICRO_TARGET is %q, which is neither a target nor a URL", wanted).WithCommand("micro target list")
		}
		name, t = wanted, known
	case wanted != "":
		t.URL = wanted
		for other, known := range all.Targets {
			if known.URL == wanted {
				name, t = other, known
			}
		}
	case data == "" && all.Current != "":
		known, ok := all.Targets[all.Current]
		if !ok {
			return "", t, cloud.Errorf(cloud.NotFound, "the current target %q is not there", all.Current).WithCommand("micro target list")
		}
		name, t = all.Current, known
	default:
		t.URL = (&config.Node{Data: cmp.Or(data, config.DefaultData)}).Target()
	}
	if token, ok := c.Env("MICRO_TOKEN"); ok && token != "" {
		t.Token = token
	}
	if pin, ok := c.Env("MICRO_FINGERPRINT"); ok && pin != "" {
		if t.Fingerprint, err = api.CheckFingerprint(pin); err != nil {
			return name, t, err
		}
	}
	return name, t, nil
}

// connectTo returns a client of a target.
func (c *command) connectTo(t target) (*api.Client, error) {
	ssh, _ := c.Env("MICRO_SSH")
	client, err := api.New(t.URL, strings.Fields(ssh)...)
	if err != nil {
		return nil, err
	}
	client.Pin(t.Fingerprint)
	if t.Token != "" {
		err = client.UseToken(t.Token)
	}
	return client, err
}

func (c *command) targetCommand() *urfave.Command {
	add := c.new("add", "NAME URL", "remember a cloud: https://HOST:7443, ssh://USER@HOST or unix:///PATH", 2, 2, []urfave.Flag{
		&urfave.StringFlag{Name: "fingerprint", Usage: "its certificate authority has this `SHA256`; else you are asked"},
		&urfave.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "names without a group are in group `NAME`"},
		&urfave.BoolFlag{Name: "use", Usage: "use it from now on"},
	}, c.addTarget)
	list := c.new("list", "", "list the clouds that you use", 0, 0, []urfave.Flag{jsonFlag}, c.listTargets)
	use := c.new("use", "NAME", "use a cloud from now on", 1, 1, []urfave.Flag{
		&urfave.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "names without a group are in group `NAME`"},
	}, func(u *urfave.Context) error {
		return c.changeTargets(u.Args().First(), func(all *targets, name string) {
			all.Current = name
			if u.IsSet("group") {
				t := all.Targets[name]
				t.Group = cloud.GroupName(u.String("group"))
				all.Targets[name] = t
			}
			c.say("commands go to %s, %s", name, all.Targets[name].URL)
		})
	})
	remove := c.new("remove", "NAME", "forget a cloud, and the log-in to it", 1, 1, nil, func(u *urfave.Context) error {
		return c.changeTargets(u.Args().First(), func(all *targets, name string) {
			delete(all.Targets, name)
			if all.Current == name {
				all.Current = ""
			}
			c.say("target %s is forgotten", name)
		})
	})
	show := c.new("show", "", "show the cloud that commands go to, and the fingerprint that it has for others", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			node, err := client.Node(ctx)
			if err != nil {
				return err
			}
			name, t, err := c.chosen()
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(shownTarget{Name: name, URL: t.URL, InUse: true, User: t.User, Group: t.Group, Fingerprint: node.Fingerprint, Node: node.Name, API: node.API})
			}
			c.print("target       %s", cmp.Or(name, "(none)"))
			c.print("url          %s", t.URL)
			c.print("node         %s", node.Name)
			for _, url := range node.API {
				c.print("api          %s", url)
			}
			if node.Fingerprint != "" {
				c.print("fingerprint  %s", node.Fingerprint)
			}
			return nil
		}))
	return family("target", "the clouds that you use", add, list, show, use, remove)
}

// changeTargets changes a target that is there.
func (c *command) changeTargets(name string, change func(*targets, string)) error {
	all, err := c.readTargets()
	if err != nil {
		return err
	}
	if _, ok := all.Targets[name]; !ok {
		return cloud.Errorf(cloud.NotFound, "no target %q", name).WithCommand("micro target list")
	}
	change(&all, name)
	return c.writeTargets(all)
}

func (c *command) addTarget(u *urfave.Context) error {
	name, url := u.Args().First(), strings.TrimSuffix(u.Args().Get(1), "/")
	if err := cloud.ProcessName(name).Validate(); err != nil {
		return cloud.Errorf(cloud.Invalid, "invalid target name %q", name).WithHint("for example prod")
	}
	all, err := c.readTargets()
	if err != nil {
		return err
	}
	if _, ok := all.Targets[name]; ok {
		return cloud.Errorf(cloud.Conflict, "target %s is there already", name).WithCommand("micro target remove %s", name)
	}
	if _, err := api.New(url); err != nil {
		return err
	}
	t := target{URL: url, Group: cloud.GroupName(u.String("group"))}
	if strings.HasPrefix(url, "https://") {
		if t.Fingerprint, err = c.pin(u, name, url); err != nil {
			return err
		}
	}
	all.Targets[name] = t
	if u.Bool("use") || all.Current == "" && !strings.HasPrefix(url, "unix://") {
		all.Current = name
	}
	if err := c.writeTargets(all); err != nil {
		return err
	}
	c.say("target %s is %s", name, url)
	if strings.HasPrefix(url, "https://") {
		c.say("micro login USER logs in")
	}
	return nil
}

// pin decides which certificate authority a cloud must show from now on, "" where this machine trusts it anyway.
func (c *command) pin(u *urfave.Context, name, url string) (string, error) {
	found, trusted, err := api.Presented(u.Context, url)
	if err != nil {
		return "", err
	}
	if wanted := u.String("fingerprint"); wanted != "" {
		if wanted, err = api.CheckFingerprint(wanted); err != nil {
			return "", err
		}
		if wanted != found {
			return "", cloud.Errorf(cloud.Denied, "%s shows another certificate: its fingerprint is %s, and should be %s", url, found, wanted).
				WithHint("ask who runs the cloud; sudo micro target show on the node shows the fingerprint")
		}
		return found, nil
	}
	if trusted {
		return "", nil
	}
	c.say("%s shows the fingerprint\n  %s\nsudo micro target show on the node's own machine shows the right one", url, found)
	yes, interrupted := c.confirm("Is that the one?")
	switch {
	case interrupted:
		return "", exit(cloud.Interrupted.Exit())
	case !yes:
		return "", cloud.Errorf(cloud.Denied, "the certificate of %s was not confirmed", url).
			WithHint("compare the fingerprint, then: micro target add %s %s --fingerprint %s", name, url, found)
	}
	return found, nil
}

// shownTarget is a target without its secrets.
type shownTarget struct {
	Name        string          `json:"name"`
	URL         string          `json:"url"`
	InUse       bool            `json:"in_use,omitempty"`
	User        string          `json:"user,omitempty"`
	Group       cloud.GroupName `json:"group,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Node        cloud.NodeName  `json:"node,omitempty"`
	API         []string        `json:"api_urls,omitempty"`
}

func (c *command) listTargets(u *urfave.Context) error {
	all, err := c.readTargets()
	if err != nil {
		return err
	}
	list, rows := []shownTarget{}, [][]string{}
	for _, name := range sorted(all.Targets) {
		t, mark := all.Targets[name], ""
		if name == all.Current {
			mark = "*"
		}
		list = append(list, shownTarget{Name: name, URL: t.URL, InUse: name == all.Current, User: t.User, Group: t.Group, Fingerprint: t.Fingerprint})
		rows = append(rows, []string{name + mark, t.URL, t.User, string(t.Group)})
	}
	if u.Bool("json") {
		return c.printJSON(list)
	}
	if len(rows) == 0 {
		c.say("no targets yet; micro target add NAME URL adds one")
		return nil
	}
	return c.table([]string{"TARGET", "URL", "USER", "GROUP"}, rows)
}
