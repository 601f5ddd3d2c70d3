package build

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A NewSandbox creates the network of a build step: a network namespace that reaches the internet, but not the host, the
// node or its apps. It belongs to a user namespace whose root is network.SandboxBase. id must be unique. NewSandbox returns
// the paths of both namespaces and a function that removes them.
type NewSandbox func(ctx context.Context, id string) (netns, userns string, remove func() error, err error)

// serveSandbox creates a network for a connection, and removes it when the connection ends.
func (b *Builder) serveSandbox(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	netns, userns, remove, err := b.cfg.Sandbox(ctx, sandboxID())
	if err != nil {
		b.log.Error("make a network for a build step", "err", err)
		_ = sendNetwork(conn, nil, err) // fails if the peer has gone, which does not matter
		return
	}
	defer func() {
		if err := remove(); err != nil {
			b.log.Error("remove a build step's network", "err", err)
		}
	}()
	if err := sendNamespaces(conn, netns, userns); err != nil {
		b.log.Error("hand out a build step's network", "err", err)
		return
	}
	_, _ = io.Copy(io.Discard, conn) // wait for the end of the connection
}

func sendNamespaces(conn *net.UnixConn, paths ...string) error {
	var files []int
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, int(f.Fd()))
	}
	return sendNetwork(conn, files, nil)
}

func sandboxID() string { return "build-" + strings.ToLower(rand.Text()[:12]) }

func sendNetwork(conn *net.UnixConn, namespaces []int, failed error) error {
	var n network
	var rights []byte
	if failed != nil {
		n.Error = failed.Error()
	} else {
		rights = unix.UnixRights(namespaces...)
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, _, err = conn.WriteMsgUnix(body, rights, nil)
	return err
}

// ReceiveNetwork reads the answer of the node's socket: the network and user namespace to join.
func ReceiveNetwork(conn *net.UnixConn) (netns, userns *os.File, err error) {
	body, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(body, oob)
	if err != nil {
		return nil, nil, err
	}
	var answer network
	if err := json.Unmarshal(body[:n], &answer); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer.Error != "" {
		return nil, nil, errors.New(answer.Error)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, nil, errors.New("the answer carries no namespaces")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		return nil, nil, errors.New("the answer carries no namespaces")
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "netns"), os.NewFile(uintptr(fds[1]), "userns"), nil
}
