package containers

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// runcError gives faults of the caller the code Invalid. It recognises them by runc's text, because runc has no codes.
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
