package succession

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// inspectTime is how long a program may take to say what it is.
const inspectTime = 20 * time.Second

// Inspect runs a program to learn which micro it is. It changes nothing.
func Inspect(ctx context.Context, program string) (v api.Version, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "version", "--json")
	cmd.Env = []string{"MICRO_TARGET=unix:///dev/null", "PATH=" + os.Getenv("PATH")} // it need not ask a node
	out, err := cmd.Output()
	if err != nil {
		said := err.Error()
		if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
			said = strings.TrimSpace(string(e.Stderr))
		}
		return v, cloud.Errorf(cloud.Invalid, "%s does not run here: %s", program, said).WithHint("install a micro for this machine there")
	}
	var said struct {
		Client api.Version `json:"client"`
	}
	if err := json.Unmarshal(out, &said); err != nil || said.Client.Version == "" {
		return v, cloud.Errorf(cloud.Invalid, "%s is not micro: it does not say its version", program)
	}
	return said.Client, nil
}

// Check reports why a micro can't work on a store of a version. It would not start, and a store that it can't read must not
// be believed lost.
func Check(candidate api.Version, store int) error {
	switch {
	case candidate.Store == 0:
		return cloud.Errorf(cloud.Invalid, "micro %s does not say which stores it reads: it is older than upgrades without a restart", candidate.Version).
			WithHint("to run it all the same: stop micro, install it, and start it")
	case candidate.Store < store:
		return cloud.Errorf(cloud.Conflict, "micro %s reads stores up to version %d, and this one has version %d: a newer micro has written it", candidate.Version, candidate.Store, store).
			WithHint("to go back so far, restore a backup from before the upgrade")
	}
	return nil
}
