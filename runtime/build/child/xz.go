package child

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ulikunitz/xz"
)

// xzName is the program that BuildKit runs to unpack xz archives of ADD. It is a link to this program, so that builds don't
// depend on the machine's programs.
const xzName = "xz"

// bringTools creates a folder with the programs that BuildKit runs, and prepends it to PATH.
func bringTools() error {
	dir := filepath.Join(os.TempDir(), "tools")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("bring tools: %w", err)
	}
	if err := os.Symlink("/proc/self/exe", filepath.Join(dir, xzName)); err != nil {
		return fmt.Errorf("bring tools: %w", err)
	}
	return os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// unxz is "xz -d -c -q": it decompresses stdin to stdout.
func unxz(in io.Reader, out io.Writer) error {
	r, err := xz.NewReader(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Flush()
}
