//go:build embedhelpers

package helpers

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

//go:embed bin/runc
var runcBinary []byte

// The shim is compressed by zstd, which makes micro's own file smaller by 5 MB, and the first start 20 ms longer.
//
//go:embed bin/containerd-shim-micro-v2.zst
var shimCompressed []byte

//go:embed bin/micro-init
var initBinary []byte

// sums is what sha256sum says of the three, in this order. To hash them here would bring all of them into
// memory at each start.
//
//go:embed bin/sums
var sums []byte

// Main reports false: the shim is a program of its own.
func Main() bool { return false }

// provide unpacks the programs into a folder named after what is in them. Folders of other versions go:
// what runs of them goes on without its file, and whatever is started later is found by the links.
func provide(data string) (p Paths, err error) {
	var sum [3]string
	for i, line := range bytes.SplitN(sums, []byte("\n"), len(sum)) {
		text, _, _ := bytes.Cut(line, []byte(" "))
		sum[i] = string(bytes.TrimSpace(text))
	}
	all := sha256.Sum256([]byte(strings.Join(sum[:], "")))
	dir := filepath.Join(data, "helpers", hex.EncodeToString(all[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, fmt.Errorf("unpack helper programs: %w", err)
	}
	p = Paths{Runc: filepath.Join(dir, "runc"), Shim: filepath.Join(dir, "shim"), Init: filepath.Join(dir, "init")}
	err = errors.Join(
		unpack(p.Runc, write(runcBinary), sum[0], 0o700), unpack(p.Shim, decompress(shimCompressed), sum[1], 0o700),
		unpack(p.Init, write(initBinary), sum[2], 0o755), // every user of a container executes it
	)
	if err != nil {
		return p, err
	}
	others, err := os.ReadDir(filepath.Dir(dir))
	for _, o := range others {
		if o.Name() != filepath.Base(dir) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(filepath.Dir(dir), o.Name())))
		}
	}
	return p, err
}

func unpack(file string, write func(io.Writer) error, sum string, mode os.FileMode) error {
	if have, err := sumOf(file); err == nil && have == sum {
		return nil
	}
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("unpack helper programs: %w", err)
	}
	err = errors.Join(write(f), f.Chmod(mode), f.Close()) // Chmod, whatever the umask is
	if err == nil {
		err = os.Rename(tmp, file)
	}
	if err != nil {
		return fmt.Errorf("unpack helper programs: %w", err)
	}
	return nil
}

func write(program []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		defer forget(program)
		_, err := w.Write(program)
		return err
	}
}

func decompress(program []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		defer forget(program)
		z, err := zstd.NewReader(bytes.NewReader(program), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		_, err = z.WriteTo(w)
		return err
	}
}

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// forget gives back the memory that reading b has taken: the pages are the program's file and come back
// from there, should they be read again.
func forget(b []byte) {
	page := uintptr(os.Getpagesize())
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skip := -begin & (page - 1) // what is around b stays
	if whole := (uintptr(len(b)) - min(skip, uintptr(len(b)))) &^ (page - 1); whole > 0 {
		_ = unix.Madvise(b[skip:skip+whole], unix.MADV_DONTNEED) // without it they stay until memory is short
	}
}
