package containers

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine/shim"
)

// runcError gives faults of the caller the code Invalid, and a start that the fence has refused runtime.ErrNoLease. It
// recognises them by the text, because runc has no codes.
func runcError(err error) error {
	text := err.Error()
	if strings.Contains(text, shim.LeaseEnded) {
		return fmt.Errorf("run it: %w", runtime.ErrNoLease)
	}
	_, cause, ok := strings.Cut(text, "exec: ")
	for _, known := range []string{"executable file not found", "no such file or directory", "permission denied", "exec format error", "is a directory"} {
		if ok && strings.Contains(cause, known) {
			return cloud.Errorf(cloud.Invalid, "its command can't be run: %s", strings.TrimSuffix(cause, ": unknown")).
				WithHint("check the command, and that the image is built for this machine")
		}
	}
	return fmt.Errorf("run it: %w", err)
}
