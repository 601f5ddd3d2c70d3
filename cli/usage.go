package cli

import (
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/cloud"
)

// usageError says what is wrong with a command line, and where help is.
func usageError(ctx *urfave.Context, err error, _ bool) error {
	name := "micro"
	var flags []urfave.Flag
	if ctx.Command != nil && ctx.Command.HelpName != "" {
		name, flags = ctx.Command.HelpName, ctx.Command.Flags
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		if want := valueOf(flags, m[2]); want != "" {
			return cloud.Errorf(cloud.Invalid, "%s %s: the value is not %s", dashed(m[2]), m[1], want).WithHint("%s --help", name)
		}
	}
	return cloud.Errorf(cloud.Invalid, "%w", err).WithHint("%s --help", name)
}

// needed returns the value of a flag that a command can't do without.
func needed(ctx *urfave.Context, flag, value string) (string, error) {
	s := ctx.String(flag)
	if s == "" {
		command := append([]string{ctx.Command.HelpName}, ctx.Args().Slice()...)
		return "", cloud.Errorf(cloud.Invalid, "%s needs --%s", ctx.Command.HelpName, flag).WithHint("%s --%s %s", strings.Join(command, " "), flag, value)
	}
	return s, nil
}

// badValue is what Go's flag package says of a value. It has no type for that.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value "(.*)" for (?:flag )?-([^:\s]+): `)

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// valueOf says what values a flag takes, "" where that is not known.
func valueOf(flags []urfave.Flag, name string) string {
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *urfave.IntFlag:
			return "a whole number"
		case *urfave.Float64Flag:
			return "a number"
		case *urfave.DurationFlag:
			return "a time, e.g. 10m or 2h"
		case *urfave.BoolFlag:
			return "true or false"
		}
	}
	return ""
}
