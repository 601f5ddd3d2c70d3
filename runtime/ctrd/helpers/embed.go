//go:build embedhelpers

package helpers

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed bin/runc
var runcBinary []byte

//go:embed bin/containerd-shim-micro-v2
var shimBinary []byte

// Main reports false: the shim is a program of its own.
func Main() bool { return false }

// provide unpacks both programs into a folder named after what is in them. Folders of other versions go:
// what runs of them goes on without its file, and whatever is started later is found by the links.
func provide(data string) (runc, shimPath string, err error) {
	sum := sha256.New()
	sum.Write(runcBinary)
	sum.Write(shimBinary)
	dir := filepath.Join(data, "helpers", hex.EncodeToString(sum.Sum(nil)[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("unpack helper programs: %w", err)
	}
	runc, shimPath = filepath.Join(dir, "runc"), filepath.Join(dir, "shim")
	if err := errors.Join(unpack(runc, runcBinary), unpack(shimPath, shimBinary)); err != nil {
		return "", "", err
	}
	others, err := os.ReadDir(filepath.Dir(dir))
	for _, o := range others {
		if o.Name() != filepath.Base(dir) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(filepath.Dir(dir), o.Name())))
		}
	}
	return runc, shimPath, err
}

func unpack(file string, want []byte) error {
	have, err := os.ReadFile(file)
	if err == nil && sha256.Sum256(have) == sha256.Sum256(want) {
		return nil
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, want, 0o700); err != nil {
		return fmt.Errorf("unpack helper programs: %w", err)
	}
	if err := os.Chmod(tmp, 0o700); err != nil { // whatever the umask is
		return fmt.Errorf("unpack helper programs: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("unpack helper programs: %w", err)
	}
	return nil
}
