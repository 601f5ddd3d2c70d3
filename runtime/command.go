package runtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/protoduction/micro/cloud"
)

// check runs a health check of an instance once. A nil error means that the instance passed. The command of a command
// check runs only if the instance's port answers: starting a process costs much more than opening a connection.
func (a *Agent) check(ctx context.Context, i *cloud.Instance, p cloud.Protocol, c cloud.Check) error {
	defer a.pauses.unpaused(i.AppRef)() // an instance that is paused can't answer
	if err := a.ask(ctx, p, c, i.Addr); err != nil || c.Type != cloud.CheckCommand {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(c.Timeout), 5*time.Second))
	defer cancel()
	var said tail
	code, err := a.Driver.Exec(ctx, string(i.ID), Command{
		Args: []string{"/bin/sh", "-c", c.Script}, Env: a.secretsOf(i), Stdout: io.Discard, Stderr: &said,
	})
	switch {
	case err != nil:
		return fmt.Errorf("its check cannot be run: %w", err)
	case code != 0:
		return fmt.Errorf("its check ended with exit code %d: %.200q", code, bytes.TrimSpace(said.bytes))
	}
	return nil
}

// tail keeps the last bytes that were written.
type tail struct{ bytes []byte }

const tailSize = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	t.bytes = t.bytes[max(0, len(t.bytes)-tailSize):]
	return len(p), nil
}
