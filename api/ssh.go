package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// DefaultSSH is the program that reaches nodes on other machines.
const DefaultSSH = "ssh"

// sshTarget is a node's socket on another machine. Each connection to it is an ssh of its own, which runs
// "micro connect" there: what ssh's owner may do with the node is what he may do with the socket.
type sshTarget struct {
	command []string // ssh itself, with what its owner wants of it
	args    []string
}

// newSSHTarget reads ssh://[USER@]HOST[:PORT][/PATH/OF/micro.sock].
func newSSHTarget(u *url.URL, command []string) (sshTarget, error) {
	t, err := newSSH(u, command)
	if err != nil {
		return t, err
	}
	if strings.Trim(u.Path, "/") != "" {
		t.args = append(t.args, "env", "MICRO_TARGET=unix://"+u.Path)
	}
	t.args = append(t.args, "micro", "connect")
	return t, nil
}

// newSSH returns how to run a program on the machine of a URL: the program and its arguments are to follow.
func newSSH(u *url.URL, command []string) (sshTarget, error) {
	t := sshTarget{command: command, args: []string{"-T", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15"}}
	if len(t.command) == 0 {
		t.command = []string{DefaultSSH}
	}
	wrong := func(what string) (sshTarget, error) {
		return t, cloud.Errorf(cloud.Invalid, "target %q has %s", u.Redacted(), what).WithHint("for example ssh://root@host, or ssh://root@host:2222/var/lib/micro/micro.sock")
	}
	_, password := u.User.Password()
	switch {
	case u.Hostname() == "":
		return wrong("no host")
	case password:
		return wrong("a password, which ssh does not take")
	case u.RawQuery != "" || u.Fragment != "":
		return wrong("more than a host and a path")
	case strings.ContainsFunc(u.Path, func(r rune) bool {
		return !strings.ContainsRune("/._+-@", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
		return wrong("a path that a shell might take for something else")
	}
	if u.User.Username() != "" {
		t.args = append(t.args, "-l", u.User.Username())
	}
	if u.Port() != "" {
		t.args = append(t.args, "-p", u.Port())
	}
	t.args = append(t.args, "--", u.Hostname())
	return t, nil
}

// dial starts an ssh. Whether it gets anywhere shows with the first answer.
func (t sshTarget) dial(context.Context) (net.Conn, error) {
	conn, theirs, err := newLink()
	if err != nil {
		return nil, err
	}
	defer theirs.close()
	// It outlives the context of the request that it is dialled for.
	cmd := exec.Command(t.command[0], append(t.command[1:len(t.command):len(t.command)], t.args...)...)
	c := &sshConn{Conn: conn, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs.in, theirs.out, &c.said
	cmd.WaitDelay = time.Second
	// Ctrl-C is ours to deal with: the connection may still be needed to cancel a push.
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, cloud.Errorf(cloud.Unavailable, "cannot run %s: %w", t.command[0], err).WithHint("install OpenSSH's client, or name another by MICRO_SSH")
	}
	go func() {
		c.err = c.why(cmd.Wait())
		close(c.ended)
	}()
	return c, nil
}

// sshConn is a connection through an ssh.
type sshConn struct {
	net.Conn
	said  lastWords
	ended chan struct{} // closed after ssh
	err   error         // why it ended, where that was not well
}

// Read returns why ssh ended instead of a mere end.
func (c *sshConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err != nil {
		err = c.explain(err)
	}
	return n, err
}

func (c *sshConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		err = c.explain(err)
	}
	return n, err
}

func (c *sshConn) explain(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	select {
	case <-c.ended:
		if c.err != nil {
			return c.err
		}
	case <-time.After(2 * time.Second): // it has closed its output, and is about to end
	}
	return err
}

// Exit codes that are not those of "micro connect".
const (
	sshFailed = 255
	noCommand = 127
)

// why makes an error of how ssh ended: its own exit code, or that of what it ran.
func (c *sshConn) why(err error) error {
	if err == nil {
		return nil
	}
	said, hint := c.said.read()
	e, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case !ok:
		return cloud.Errorf(cloud.Unavailable, "ssh: %w", err)
	case e.ExitCode() == sshFailed:
		return notConnected(said)
	case e.ExitCode() == noCommand:
		return cloud.Errorf(cloud.Unavailable, "micro is not in the PATH of the other machine: %s", said).WithHint("install micro there, for example as /usr/local/bin/micro")
	}
	code := cloud.Unavailable
	if e.ExitCode() == cloud.Denied.Exit() {
		code = cloud.Denied
	}
	there := cloud.Errorf(code, "%s", cmp.Or(said, fmt.Sprintf("ssh ended with exit code %d", e.ExitCode())))
	if hint != "" {
		there = there.WithHint("there: %s", hint)
	}
	return there
}

func notConnected(said string) error {
	return cloud.Errorf(cloud.Unavailable, "%s", cmp.Or(said, "ssh failed")).WithHint("ssh must connect without a question: load a key into the agent, and accept the host key once")
}

// lastWords keep the end of what ssh, or micro behind it, wrote to standard error.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const maxWords = 2000 // bytes

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if more := len(w.text) - maxWords; more > 0 {
		w.text = w.text[more:]
	}
	return len(p), nil
}

// read returns what was said as one line, and the hint that micro gave with it.
func (w *lastWords) read() (said, hint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(w.text) {
		line := strings.TrimSpace(string(line))
		if text, ok := strings.CutPrefix(line, "hint: "); ok {
			hint = text
			continue
		}
		line = strings.TrimPrefix(strings.TrimPrefix(line, "error: "), "ssh: ")
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; "), hint
}
