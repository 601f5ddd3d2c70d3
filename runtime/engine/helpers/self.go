//go:build !embedhelpers

package helpers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containerd/plugin/registry"

	"github.com/protoduction/micro/runtime/engine/shim"
)

// selfEnv tells a process that the shim started from itself what it is: it is started by the name of
// the binary, not by the link's.
const selfEnv = "MICRO_SHIM"

// Main runs the shim and reports true if that is what this process was started as.
func Main() bool {
	if filepath.Base(os.Args[0]) != shim.Name && os.Getenv(selfEnv) == "" {
		return false
	}
	if err := os.Setenv(selfEnv, "1"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	registry.Reset()
	shim.Main()
	return true
}

func provide(string) (p Paths, err error) {
	if p.Runc, err = onPath(); err != nil {
		return p, err
	}
	if p.Shim, err = findAbs(shim.Name); err != nil {
		if p.Shim, err = os.Executable(); err != nil {
			return p, fmt.Errorf("helper programs: %w", err)
		}
	}
	if p.Init, err = findAbs(initName); err != nil {
		p.Init = ""
	}
	return p, nil
}

func findAbs(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}
