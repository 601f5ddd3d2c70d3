// Micro is a cloud in one binary: push a folder, get an address that works.
package main

import (
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/program"
)

// version, commit and built are set by the linker for a release.
var version, commit, built string

func main() { program.Main(api.Version{Version: version, Commit: commit, Built: built}) }
