package containers

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// runcError makes the caller's own faults known as such. runc tells them by text alone.
func runcError(err error) error {
	text := err.Error()
	_, cause, ok := strings.Cut(text, "exec: ")
	for _, known := range []string{"executable file not found", "no such file or directory", "permission denied", "exec format error", "is a directory"} {
		if ok && strings.Contains(cause, known) {
			return cloud.Errorf(cloud.Invalid, "its command can't be run: %s", strings.TrimSuffix(cause, ": unknown")).
				WithHint("check the command, and that the image is built for this machine")
		}
	}
	return fmt.Errorf("run it: %w", err)
}
