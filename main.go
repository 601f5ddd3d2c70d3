// Micro is a cloud in one binary: push a folder, get an address that works.
//
// The node needs Linux. On other systems the same program is the command line alone, for clouds that run
// elsewhere.
package main

import (
	"os"
	"runtime/debug"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cli"
)

// version, commit and built are set by the linker for a release.
var version, commit, built string

func main() {
	if code, ours := helper(); ours {
		os.Exit(code)
	}
	s := cli.System{Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Version: about()}
	s.Up, s.Down = nodeOf(&s.Version)
	os.Exit(cli.Main(s))
}

// about is what this program is.
func about() api.Version {
	v := api.Version{Version: version, Commit: commit, Built: built, API: "v1"}
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
