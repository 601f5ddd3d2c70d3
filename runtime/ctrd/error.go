package ctrd

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// runcError makes the caller's own faults known as such. runc tells them by text alone.
func runcError(err error) error {
	text := err.Error()
	for _, known := range []string{"executable file not found", "no such file or directory: unknown", "permission denied: unknown", "exec format error"} {
		if !strings.Contains(text, known) {
			continue
		}
		if _, cause, ok := strings.Cut(text, "exec: "); ok {
			text = strings.TrimSuffix(cause, ": unknown")
		}
		return cloud.Errorf(cloud.DeployFailed, "its command can't be run: %s", text).
			WithHint("check the command, and that the image is built for this machine")
	}
	return fmt.Errorf("run it: %w", err)
}
