package cli

import (
	"encoding/csv"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// buildFlags are the flags that only a build has.
func buildFlags() []urfave.Flag {
	return []urfave.Flag{
		newRepeated("build-arg", "", "`NAME=VALUE` of an ARG, or NAME of the environment; may be repeated"),
		newRepeated("secret", "", "`id=ID,src=FILE` or id=ID,env=NAME; may be repeated"),
		&urfave.BoolFlag{Name: "no-cache", Usage: "build every step again"},
	}
}

// readBuildFlags adds to a build what flags say of it: a flag beats the manifest.
func (c *command) readBuildFlags(u *urfave.Context, s *api.Source) error {
	s.NoCache = u.Bool("no-cache")
	for _, arg := range valuesOf(u, "build-arg") {
		name, value, given := strings.Cut(arg, "=")
		if !given {
			value, given = c.Env(name)
		}
		if name == "" || !given {
			return cloud.Errorf(cloud.Invalid, "--build-arg %q has no value", arg).WithHint("--build-arg NAME=VALUE, or NAME alone for a variable of the environment")
		}
		if s.Args == nil {
			s.Args = map[string]string{}
		}
		s.Args[name] = value
	}
	for _, arg := range valuesOf(u, "secret") {
		id, value, err := c.readSecret(arg)
		if err != nil {
			return err
		}
		if s.Secrets == nil {
			s.Secrets = map[string][]byte{}
		}
		s.Secrets[id] = value
	}
	return s.CheckSecrets()
}

// onlyOfBuilds refuses the flags of a build where nothing is built.
func onlyOfBuilds(u *urfave.Context) error {
	for _, name := range []string{"build-arg", "secret", "no-cache"} {
		if u.IsSet(name) {
			return cloud.Errorf(cloud.Invalid, "--%s is for builds, and an image is not built", name).WithHint("leave it out, or push a folder")
		}
	}
	return nil
}

// readSecret reads "id=npm,src=.npmrc" as docker build has it, and the secret itself.
func (c *command) readSecret(arg string) (id string, value []byte, err error) {
	bad := func(format string, args ...any) error {
		return cloud.Errorf(cloud.Invalid, "--secret %q: "+format, append([]any{arg}, args...)...).WithHint("--secret id=ID,src=FILE, or --secret id=ID,env=NAME")
	}
	fields, err := csv.NewReader(strings.NewReader(arg)).Read()
	if err != nil {
		return "", nil, bad("%w", err)
	}
	var file, env, kind string
	for _, field := range fields {
		key, v, ok := strings.Cut(field, "=")
		switch {
		case !ok || v == "":
			return "", nil, bad("%q is not KEY=VALUE", field)
		case key == "id":
			id = v
		case key == "src", key == "source":
			file = v
		case key == "env":
			env = v
		case key == "type" && (v == "file" || v == "env"):
			kind = v
		default:
			return "", nil, bad("unknown %q", field)
		}
	}
	switch {
	case id == "":
		return "", nil, bad("it has no id")
	case file != "" && env != "":
		return "", nil, bad("it has both src and env")
	case kind == "env" && env == "":
		env, file = file, ""
	}
	if file == "" && env == "" { // as docker build has it
		if _, ok := c.Env(id); ok || kind == "env" {
			env = id
		} else {
			file = id
		}
	}
	if env != "" {
		v, ok := c.Env(env)
		if !ok {
			return "", nil, bad("the environment has no %s", env)
		}
		return id, []byte(v), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", nil, bad("%w", err)
	}
	defer f.Close()
	if value, err = io.ReadAll(io.LimitReader(f, api.MaxSecrets+1)); err != nil {
		return "", nil, bad("%w", err)
	}
	return id, value, nil
}
