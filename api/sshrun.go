package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// SSH runs command lines on another machine through ssh.
type SSH struct {
	target sshTarget
	// Host is the machine as the user has named it.
	Host string
}

// NewSSH reads ssh://[USER@]HOST[:PORT]. ssh is another program than DefaultSSH, with arguments.
func NewSSH(target string, ssh ...string) (SSH, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "ssh" || strings.Trim(u.Path, "/") != "" {
		return SSH{}, cloud.Errorf(cloud.Invalid, "%q is not the machine of an ssh log-in", target).WithHint("for example ssh://root@host, or ssh://root@host:2222")
	}
	t, err := newSSH(u, ssh)
	return SSH{t, u.Host}, err
}

// Run runs a line of the other machine's shell, and returns what it printed. Its error has the exit code and the last words
// of the line, or says why ssh did not connect.
func (s SSH) Run(ctx context.Context, line string, stdin io.Reader) (string, error) {
	command := append(append([]string{}, s.target.command...), s.target.args...)
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], "sh -c "+cloud.ShellQuote(line))...)
	var said lastWords
	cmd.Stdin, cmd.Stderr = stdin, &said
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	words, hint := said.read()
	e, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case !ok:
		return "", cloud.Errorf(cloud.Unavailable, "cannot run %s: %w", command[0], err).WithHint("install OpenSSH's client, or name another by MICRO_SSH")
	case e.ExitCode() == sshFailed:
		return "", notConnected(words)
	}
	code := cloud.Unavailable
	for _, known := range cloud.Codes() {
		if known.Exit() == e.ExitCode() {
			code = known
		}
	}
	return "", cloud.Errorf(code, "%s: %s", s.Host, cmp.Or(words, fmt.Sprintf("exit code %d", e.ExitCode()))).WithHint("%s", hint)
}
