package cli

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/cloud"
)

// arrange moves the flags of a command line in front of its arguments, for the flag package stops at
// the first argument, and cuts off what stands behind "--": that belongs to a child. Where the command
// has none, it is arguments, whatever they begin with.
func arrange(app *urfave.App, argv []string) (args, child []string, err error) {
	args, rest := []string{argv[0]}, argv[1:]
	commands, flags := app.Commands, app.Flags
	var path []string
	plainly := false // the command takes arguments although it has commands below it
	parent := false  // it runs a child
	for len(rest) > 0 {
		cmd := find(commands, rest[0])
		if cmd == nil {
			break
		}
		plainly, parent = cmd.ArgsUsage != "", strings.Contains(cmd.ArgsUsage, "-- ")
		args, path, rest = append(args, rest[0]), append(path, cmd.Name), rest[1:]
		commands, flags = cmd.Subcommands, cmd.Flags
		if len(commands) == 0 {
			break
		}
	}
	if len(path) == 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return nil, nil, unknownCommand(app.Commands, "", rest[0])
	}
	if len(commands) > 0 && len(path) > 0 && len(rest) > 0 && !plainly && !strings.HasPrefix(rest[0], "-") {
		return nil, nil, unknownCommand(commands, strings.Join(path, " "), rest[0])
	}
	var plain []string
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		switch {
		case a == "--":
			if parent {
				child = slices.Clone(rest[i+1:])
			} else {
				plain = append(plain, rest[i+1:]...)
			}
			i = len(rest)
		case a == "-" || !strings.HasPrefix(a, "-"):
			plain = append(plain, a)
		case a == "-h" || a == "--help":
			// Whatever else was said: somebody wants to know how to say it.
			return append(append([]string{argv[0]}, path...), "--help"), nil, nil
		default:
			if name := unknownFlag(flags, a); name != "" {
				return nil, nil, noFlag(flags, path, name)
			}
			if flag, value, ok := together(flags, a); ok {
				args = append(args, flag, value)
				continue
			}
			args = append(args, a)
			if wantsValue(flags, a) {
				if i+1 == len(rest) {
					return nil, nil, cloud.Errorf(cloud.Invalid, "flag %s needs a value", a).WithHint("micro %s --help", strings.Join(path, " "))
				}
				i++
				args = append(args, rest[i])
			}
		}
	}
	return append(append(args, "--"), plain...), child, nil
}

func find(commands []*urfave.Command, name string) *urfave.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// together cuts a short flag from the value that is written right behind it: "-i3", "-fn20".
func together(flags []urfave.Flag, arg string) (flag, value string, ok bool) {
	if strings.HasPrefix(arg, "--") || lookup(flags, arg[1:]) != nil {
		return "", "", false
	}
	for i := 1; i < len(arg)-1; i++ {
		f := lookup(flags, arg[i:i+1])
		if f == nil || arg[i+1] == '=' {
			return "", "", false
		}
		if _, isBool := f.(*urfave.BoolFlag); !isBool {
			return arg[:i+1], arg[i+1:], true
		}
	}
	return "", "", false
}

// wantsValue says whether the value of a flag, or of the last one of short flags written together, is
// the next word.
func wantsValue(flags []urfave.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	if !strings.HasPrefix(arg, "--") && len(name) > 1 && lookup(flags, name) == nil {
		name = name[len(name)-1:]
	}
	f := lookup(flags, name)
	if f == nil {
		return false
	}
	_, isBool := f.(*urfave.BoolFlag)
	return !isBool
}

// unknownFlag returns the first flag of a word that the command does not have, with its dashes; "" where
// it has all.
func unknownFlag(flags []urfave.Flag, arg string) string {
	name, isLong := strings.CutPrefix(arg, "--")
	name, _, _ = strings.Cut(name, "=")
	if !isLong {
		name = name[1:]
	}
	switch {
	case lookup(flags, name) != nil:
		return ""
	case isLong, name == "":
		return "--" + name
	}
	for _, letter := range name {
		f := lookup(flags, string(letter))
		if f == nil {
			return "-" + string(letter)
		}
		if _, isBool := f.(*urfave.BoolFlag); !isBool {
			break // the rest is its value
		}
	}
	return ""
}

func noFlag(flags []urfave.Flag, path []string, name string) error {
	if len(path) == 0 {
		return cloud.Errorf(cloud.Invalid, "unknown flag %s before a command", name).WithHint("flags stand behind the command: micro COMMAND %s", name)
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()[0]) // the long one
	}
	meant := ""
	if near := nearest(names, strings.TrimLeft(name, "-")); near != "" {
		meant = "; did you mean --" + near + "?"
	}
	return cloud.Errorf(cloud.Invalid, "unknown flag %s%s", name, meant).WithHint("micro %s --help", strings.Join(path, " "))
}

func lookup(flags []urfave.Flag, name string) urfave.Flag {
	for _, f := range flags {
		if slices.Contains(flagNamesOf(f), name) {
			return f
		}
	}
	return nil
}

// elsewhere is what other command lines call what micro's commands do.
var elsewhere = map[string]string{
	"ls": "apps", "list": "apps", "rm": "delete", "remove": "delete", "destroy": "delete",
	"deploy": "push", "build": "push", "create": "apps create", "info": "app", "show": "app", "inspect": "app", "status": "app",
	"sh": "exec", "ssh": "exec", "shell": "exec", "set": "env", "unset": "env", "config": "env", "domains": "routes",
}

func unknownCommand(commands []*urfave.Command, path, name string) error {
	err := cloud.Errorf(cloud.Invalid, "unknown command %q", strings.TrimSpace(path+" "+name))
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	best := nearest(names, name)
	if other, ok := elsewhere[name]; ok && path == "" {
		best = other
	}
	if best != "" {
		return err.WithHint("did you mean: micro %s", strings.TrimSpace(path+" "+best))
	}
	return err.WithHint("micro %s", strings.TrimSpace(path+" --help"))
}

// nearest returns the name that was meant, "" where every other one is as likely.
func nearest(names []string, name string) string {
	best, at := "", min(2, len(name)/2)+1
	for _, n := range names {
		if d := distance(n, name); d < at {
			best, at = n, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}
