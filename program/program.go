package program

import (
	"os"
	"runtime/debug"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cli"
)

// Main is the program: it carries out what this process was started for, and ends the process with the exit code. What v
// does not say, the Go toolchain's own record in the program says.
func Main(v api.Version) {
	if code, ours := helper(); ours {
		os.Exit(code)
	}
	s := cli.System{Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Version: complete(v)}
	s.Up, s.Down = nodeOf(&s.Version)
	os.Exit(cli.Main(s))
}

func complete(v api.Version) api.Version {
	v.API = "v1"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "0.1.0-dev"
	}
	return v
}
