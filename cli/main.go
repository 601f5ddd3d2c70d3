package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// System is what the command line stands on: the process's streams and environment, and the node itself
// for the commands that run one. A test gives another.
type System struct {
	Args           []string // with the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            func(string) (string, bool)
	Version        api.Version
	// Up runs a node until ctx ends, and calls ready once it answers.
	Up func(ctx context.Context, c config.Node, ready func(api.Node)) error
	// Down takes off this machine what a node that does not run has left on it.
	Down func(ctx context.Context, c config.Node) error
}

// Main carries out a command line and returns the exit code.
func Main(s System) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &command{System: s}
	app := c.app()
	if len(s.Args) > 1 && s.Args[1] == "__complete" {
		c.complete(ctx, app, s.Args[2:])
		return 0
	}
	args, child, err := arrange(app, asked(s.Args))
	if err == nil {
		c.child = child
		err = app.RunContext(ctx, args)
	}
	return c.report(err)
}

// asked reads "help push" as "push --help" and "--version" as "version", as people write it who know
// other command lines.
func asked(args []string) []string {
	if len(args) == 2 && (args[1] == "--version" || args[1] == "-v") {
		return []string{args[0], "version"}
	}
	if len(args) > 1 && args[1] == "help" {
		return append(slices.Concat(args[:1], args[2:]), "--help")
	}
	return args
}

// command is one run of the command line.
type command struct {
	System
	// child is the command line behind "--".
	child []string
	// lines reads standard input by lines, once a password was read from it.
	lines *bufio.Reader
	// width is how many columns the terminal has on which Stdout, which is none, is drawn; 0 for no such.
	width int
}

// exit is an exit code that says all there is to say: that of a child, or of who was asked and answered.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// longest is how many columns of a line are shown that a step or an app printed last: enough for any
// message. micro logs has all of it.
const longest = 1000

// report prints what went wrong, and returns the exit code.
func (c *command) report(err error) int {
	var child exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &child):
		return int(child)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.Stderr, "interrupted")
		return cloud.Interrupted.Exit()
	}
	for line := range strings.SplitSeq(api.Printable(err.Error()), "\n") {
		fmt.Fprintln(c.Stderr, "error: "+cut(line, longest))
	}
	if failed, ok := errors.AsType[*api.Failed](err); ok {
		fmt.Fprintln(c.Stderr, "the app logged last:")
		for _, line := range failed.LogLines() {
			fmt.Fprintln(c.Stderr, "  "+cut(line, longest))
		}
	}
	if hint := cloud.HintOf(err); hint != "" {
		fmt.Fprintln(c.Stderr, "hint: "+api.Printable(hint))
	}
	return cloud.CodeOf(err).Exit()
}

// terminal says whether a stream is one that a person sits at.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interactive says whether the command may ask, and draw progress over what it drew before.
func (c *command) interactive() bool { return c.draws(c.Stderr) }

// draws says whether a stream shows what is drawn over what was drawn before.
func (c *command) draws(stream any) bool {
	ci, _ := c.Env("CI")
	t, _ := c.Env("TERM")
	return ci == "" && t != "dumb" && terminal(stream)
}
