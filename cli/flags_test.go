package cli

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// TestWrongValues: whatever wrong value a flag of any command gets, the error says what to try next.
func TestWrongValues(t *testing.T) {
	tried := 0
	var walk func(path []string, commands []*urfave.Command)
	walk = func(path []string, commands []*urfave.Command) {
		for _, cmd := range commands {
			at := append(slices.Clone(path), cmd.Name)
			walk(at, cmd.Subcommands)
			for _, f := range cmd.Flags {
				for _, value := range wrongValues(at, f) {
					tried++
					line := append(append(slices.Clone(at), "--"+f.Names()[0]+"="+value), arguments(cmd.ArgsUsage)...)
					code, errs := refused(t, line)
					if code == cloud.Invalid.Exit() && !strings.Contains(errs, "\nhint: ") {
						t.Errorf("micro %s\n%s", strings.Join(line, " "), errs)
					}
				}
			}
		}
	}
	walk(nil, (&command{}).app().Commands)
	if tried < 300 {
		t.Errorf("only %d values were tried", tried)
	}
}

// wrongValues are values that a flag does not take, as far as its type tells. Text that may be right is given only to
// commands that do nothing without a node.
func wrongValues(path []string, f urfave.Flag) []string {
	switch f.(type) {
	case *urfave.BoolFlag:
		return []string{"maybe"}
	case *urfave.IntFlag, *urfave.Uint64Flag, *urfave.Float64Flag, *urfave.DurationFlag:
		return []string{"many", "", "-1", "-1s"}
	}
	if slices.Contains([]string{"bundle", "connect", "dns", "down", "key", "login", "node", "ship", "target", "trust"}, path[0]) {
		return nil
	}
	return []string{"maybe=?", "-1", "", "/", "a b"}
}

// arguments are what a usage asks for at least.
func arguments(usage string) (args []string) {
	for _, word := range strings.Fields(optional.ReplaceAllString(usage, "")) {
		switch {
		case word == "--" || word == "|":
			return args
		case strings.Contains(word, "HOST"):
			args = append(args, "www.example.com")
		case strings.Contains(word, "rA"), strings.Contains(word, "rB"):
			args = append(args, "r1")
		default:
			args = append(args, "shop")
		}
	}
	return args
}

var optional = regexp.MustCompile(`\[[^\]]*\]`)

// refused runs a command line for a node that is not there.
func refused(t *testing.T, line []string) (code int, errs string) {
	t.Helper()
	var out, said bytes.Buffer
	env := map[string]string{"MICRO_DATA": t.TempDir()}
	none := errors.New("no node starts here")
	code = Main(System{
		Args: append([]string{"micro"}, line...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said,
		Env:  func(k string) (string, bool) { v, ok := env[k]; return v, ok },
		Up:   func(context.Context, config.Node, func(api.Node)) error { return none },
		Down: func(context.Context, config.Node) error { return none },
	})
	return code, said.String()
}
