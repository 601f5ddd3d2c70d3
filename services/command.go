package services

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Commands run commands in containers, with the environment of their releases.
type Commands interface {
	// Exec runs a command in an instance and returns its exit code.
	Exec(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error)
	// RunOnce runs a command in a container of its own, made like those of the release's process.
	RunOnce(ctx context.Context, r cloud.ReleaseRef, process cloud.ProcessName, memory int64, c runtime.Command) (int, error)
}

// call is a command of a kind that is to be run for a service.
type call struct {
	command string
	about   cloud.Credentials
	in      io.Reader
	out     io.Writer
}

// run runs a kind's command: in the service's instance, or for an external service in a container of its own. If the
// command fails, the error has the last of what it said, without passwords.
func run(ctx context.Context, commands Commands, v cloud.View, service *cloud.App, c call) error {
	var said output
	if c.out == nil {
		c.out = io.Discard
	}
	env, err := environment(c.about), error(nil)
	if strings.Contains(c.command, "SERVICE_BCRYPT") {
		if env, err = hashed(c.about); err != nil {
			return err
		}
	}
	cmd := runtime.Command{Args: []string{"/bin/sh", "-c", c.command}, Env: env, Stdin: c.in, Stdout: c.out, Stderr: &said}
	code := 0
	if service.Service.External {
		code, err = commands.RunOnce(ctx, service.Release(service.Current), cloud.Web, 0, cmd)
	} else {
		i, ok := instanceOf(v, service)
		if !ok {
			return notReady(service)
		}
		code, err = commands.Exec(ctx, i.ID, cmd)
	}
	switch {
	case err != nil:
		return err
	case code != 0:
		return cloud.Errorf(cloud.DeployFailed, "service %s: %s", service.AppRef, said.text(c.about.Password))
	}
	return nil
}

func notReady(service *cloud.App) error {
	return cloud.Errorf(cloud.Unavailable, "service %s is not ready", service.AppRef).WithCommand("micro service show %s", service.AppRef)
}

// output keeps the end of what a command says.
type output struct{ bytes.Buffer }

const outputSize = 4096

func (o *output) Write(p []byte) (int, error) {
	o.Buffer.Write(p)
	if extra := o.Len() - outputSize; extra > 0 {
		o.Next(extra)
	}
	return len(p), nil
}

// text returns the last line that tells of an error, or the last one where none does, without the password.
func (o *output) text(password string) string {
	said := strings.TrimSpace(o.String())
	if password != "" {
		said = strings.ReplaceAll(said, password, "…")
	}
	if said == "" {
		return "its command failed without a message"
	}
	lines := strings.Split(said, "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(strings.ToLower(line), "error") {
			return line
		}
	}
	return lines[len(lines)-1]
}
