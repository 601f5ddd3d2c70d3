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

func provide(string) (runc, shimPath string, err error) {
	if runc, err = onPath(); err != nil {
		return "", "", err
	}
	if shimPath, err = exec.LookPath(shim.Name); err == nil {
		shimPath, err = filepath.Abs(shimPath)
		return runc, shimPath, err
	}
	shimPath, err = os.Executable()
	if err != nil {
		return "", "", fmt.Errorf("helper programs: %w", err)
	}
	return runc, shimPath, nil
}
