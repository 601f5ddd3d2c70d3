package cli

import (
	"context"
	"os"
	"os/signal"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) exec() *urfave.Command {
	flags := append(c.childFlags(),
		&urfave.IntFlag{Name: "instance", Usage: "index `N` of the instance; else any that is ready"},
	)
	return c.new("exec", "APP[@rN] -- COMMAND…", "run a command in an instance", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			return c.inApp(ctx, u, client.Exec)
		}))
}

func (c *command) run() *urfave.Command {
	return c.new("run", "APP[@rN] -- COMMAND…", "run a command in a container of its own, made like the app's", 1, 1, c.childFlags(),
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			return c.inApp(ctx, u, client.Run)
		}))
}

func (c *command) childFlags() []urfave.Flag {
	return []urfave.Flag{
		groupFlag,
		&urfave.BoolFlag{Name: "stdin", Aliases: []string{"i"}, Usage: "send standard input"},
		&urfave.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give it a terminal"},
		&urfave.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "of process `NAME`; else web"},
		&urfave.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER`"},
		&urfave.StringFlag{Name: "dir", Usage: "in folder `DIR`"},
		newRepeated("env", "e", "`KEY=VALUE`; may be repeated"),
	}
}

// inApp runs a child with this process's streams, and ends with its exit code.
func (c *command) inApp(ctx context.Context, u *urfave.Context, run func(context.Context, cloud.AppRef, api.Command, api.Streams) (int, error)) error {
	ref, err := c.ref(u, u.Args().First())
	if err != nil {
		return err
	}
	if len(c.child) == 0 {
		return cloud.Errorf(cloud.Invalid, "micro %s: no command", u.Command.Name).WithCommand("micro %s %s -- ls -l", u.Command.Name, ref)
	}
	cmd := api.Command{
		Release: ref.N, Process: cloud.ProcessName(u.String("process")), Args: c.child,
		User: u.String("user"), Dir: u.String("dir"), Env: valuesOf(u, "env"), TTY: u.Bool("tty"),
	}
	for _, kv := range cmd.Env {
		if k, _, ok := strings.Cut(kv, "="); !ok || k == "" {
			return cloud.Errorf(cloud.Invalid, "--env %q is not KEY=VALUE", kv)
		}
	}
	if u.IsSet("instance") {
		n := u.Int("instance")
		cmd.Index = &n
	}
	streams := api.Streams{Stdout: c.Stdout, Stderr: c.Stderr}
	if u.Bool("stdin") {
		streams.Stdin = c.Stdin
	}
	if cmd.TTY {
		restore, err := c.takeTerminal(&cmd, &streams)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := run(ctx, ref.AppRef, cmd, streams)
	if err != nil {
		return err
	}
	if code != 0 {
		return exit(code)
	}
	return nil
}

// takeTerminal hands this process's terminal to the child: its size, and every key as it is.
func (c *command) takeTerminal(cmd *api.Command, streams *api.Streams) (restore func(), err error) {
	in, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		// A terminal for the child alone, as scripts ask for it.
		cmd.Rows, cmd.Columns = 24, 80
		return func() {}, nil
	}
	if t, ok := c.Env("TERM"); ok {
		cmd.Env = append([]string{"TERM=" + t}, cmd.Env...)
	}
	size := func() api.Size {
		w, h, err := term.GetSize(int(in.Fd()))
		if err != nil {
			return api.Size{Rows: 24, Columns: 80}
		}
		return api.Size{Rows: uint16(h), Columns: uint16(w)}
	}
	cmd.Rows, cmd.Columns = size().Rows, size().Columns
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "cannot set up the terminal: %w", err)
	}
	resized, sizes := make(chan os.Signal, 1), make(chan api.Size, 1)
	notifyResized(resized)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-resized:
				select {
				case sizes <- size():
				case <-stop:
					return
				}
			case <-stop:
				return
			}
		}
	}()
	streams.Resize = sizes
	return func() {
		signal.Stop(resized)
		close(stop)
		_ = term.Restore(int(in.Fd()), state)
	}, nil
}
