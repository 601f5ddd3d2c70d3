package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The command line works on systems where no node runs. What it needs must be there on all of them.
func TestElsewhere(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "micro"), ".")
			cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
