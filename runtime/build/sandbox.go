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

// A NewSandbox makes the network of a build's step: a namespace with a way out to the internet and none
// to the host, the node or its apps. id is never used twice; the namespace's path comes back, and what
// takes it away.
type NewSandbox func(ctx context.Context, id string) (netns string, remove func() error, err error)

// serveSandbox answers a connection with a network, and takes it away when the connection ends.
func (b *Builder) serveSandbox(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	netns, remove, err := b.cfg.Sandbox(ctx, sandboxID())
	if err != nil {
		b.log.Error("make a network for a build step", "err", err)
		_ = sendNetwork(conn, nil, err) // a peer that is gone needs none
		return
	}
	defer func() {
		if err := remove(); err != nil {
			b.log.Error("remove a build step's network", "err", err)
		}
	}()
	f, err := os.Open(netns)
	if err == nil {
		err = sendNetwork(conn, f, nil)
		f.Close()
	}
	if err != nil {
		b.log.Error("hand out a build step's network", "err", err)
		return
	}
	_, _ = io.Copy(io.Discard, conn) // nothing comes but the end
}

func sandboxID() string { return "build-" + strings.ToLower(rand.Text()[:12]) }

func sendNetwork(conn *net.UnixConn, netns *os.File, failed error) error {
	var n network
	var rights []byte
	if failed != nil {
		n.Error = failed.Error()
	} else {
		rights = unix.UnixRights(int(netns.Fd()))
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, _, err = conn.WriteMsgUnix(body, rights, nil)
	return err
}

// ReceiveNetwork reads the answer of the node's socket: the network namespace to join.
func ReceiveNetwork(conn *net.UnixConn) (*os.File, error) {
	body, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(body, oob)
	if err != nil {
		return nil, err
	}
	var answer network
	if err := json.Unmarshal(body[:n], &answer); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the answer carries no namespace")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("the answer carries no namespace")
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "netns"), nil
}
