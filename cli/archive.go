package cli

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// openArchive opens an image's archive. A folder opens as well, and would fail as it is sent, like a
// connection that broke.
func openArchive(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cloud.Errorf(cloud.NotFound, "there is no archive %s", path).WithHint("docker save IMAGE -o %s", path)
	case err == nil && info.IsDir():
		return nil, cloud.Errorf(cloud.Invalid, "%s is a folder, and an image's archive is a file", path).WithHint("of an OCI layout: tar -C %s -cf image.tar .", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot read the archive: %w", err)
	}
	return f, nil
}

// isArchive says whether an image is named by a file: one that is there, or a name that no reference has.
func isArchive(image string) bool {
	if info, err := os.Stat(image); err == nil && !info.IsDir() {
		return true
	}
	return slices.ContainsFunc([]string{"/", "./", "../"}, func(p string) bool { return strings.HasPrefix(image, p) }) ||
		slices.ContainsFunc([]string{"/", ".tar", ".tar.gz", ".tgz", ".tar.zst"}, func(s string) bool { return strings.HasSuffix(image, s) })
}
