package cli

import (
	"flag"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// repeated is a flag that may be given several times. It keeps each value byte for byte: the flag package's
// own slices split values at commas, trim them, and copy them through JSON.
type repeated struct {
	*urfave.GenericFlag
	short string // its other name, "" for none
}

func newRepeated(name, short, usage string) repeated {
	return repeated{&urfave.GenericFlag{Name: name, Usage: usage, Value: new(texts)}, short}
}

// Apply adds the flag to a set. The flag package does so again, for another try, where short flags are
// written together: values of the first try must not stay. Both names share the values, so that they may be
// mixed; the flag package, which knows the first name alone, would refuse that.
func (f repeated) Apply(set *flag.FlagSet) error {
	f.Value = new(texts)
	if f.short != "" {
		set.Var(f.Value, f.short, f.Usage)
	}
	return f.GenericFlag.Apply(set)
}

// flagNamesOf returns all names of a flag, the long one first.
func flagNamesOf(f urfave.Flag) []string {
	if r, ok := f.(repeated); ok && r.short != "" {
		return append(r.Names(), r.short)
	}
	return f.Names()
}

// valuesOf returns what was given for a repeated flag, in order.
func valuesOf(u *urfave.Context, name string) []string {
	if t, ok := u.Generic(name).(*texts); ok {
		return *t
	}
	return nil
}

// texts are the values of a repeated flag.
type texts []string

// Set adds a value.
func (t *texts) Set(value string) error {
	*t = append(*t, value)
	return nil
}

func (t *texts) String() string { return strings.Join(*t, " ") }
