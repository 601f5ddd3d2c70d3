package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// sshd starts a machine that ssh reaches, with a user for whoever has the key. From then on MICRO_SSH is an
// ssh with that key, and SSHD the machine's address. The machine's programs find what the script's would; sshd N is machine
// N of those that the command machines has made.
func sshdCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: sshd [N]")
	}
	shell := []string{"/bin/sh", "-c"}
	if len(args) == 1 {
		shell = append([]string{filepath.Join(ts.Getenv("MACHINE_DIR"), "on"), args[0]}, shell...)
	}
	host, client := newKey(ts, ts.MkAbs("host_key")), newKey(ts, ts.MkAbs("client_key"))
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("no such key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	env := []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME")}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, config, shell, env)
		}
	}()
	port := ln.Addr().(*net.TCPAddr).Port
	known := fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(host.PublicKey()))
	ts.Check(os.WriteFile(ts.MkAbs("known_hosts"), []byte(known), 0o600))
	ts.Setenv("SSHD", ln.Addr().String())
	ts.Setenv("MICRO_SSH", fmt.Sprintf("ssh -F none -o IdentitiesOnly=yes -i %s -o UserKnownHostsFile=%s", ts.MkAbs("client_key"), ts.MkAbs("known_hosts")))
}

func newKey(ts *testscript.TestScript, file string) ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	block, err := ssh.MarshalPrivateKey(key, "")
	ts.Check(err)
	ts.Check(os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(key)
	ts.Check(err)
	return signer
}

// serveSSH runs what the sessions of one connection ask for.
func serveSSH(conn net.Conn, config *ssh.ServerConfig, shell, env []string) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for asked := range channels {
		if asked.ChannelType() != "session" {
			asked.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				var line struct{ Command string }
				if request.Type != "exec" || ssh.Unmarshal(request.Payload, &line) != nil {
					request.Reply(false, nil)
					continue
				}
				request.Reply(true, nil)
				go runSSH(channel, append(shell[:len(shell):len(shell)], line.Command), env)
			}
		}()
	}
}

func runSSH(channel ssh.Channel, line, env []string) {
	defer channel.Close()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(channel.Stderr(), err)
		return
	}
	go func() {
		defer in.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := channel.Read(buf)
			if n > 0 {
				if _, err := in.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	_ = cmd.Wait() // its code says what of it
	channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(max(cmd.ProcessState.ExitCode(), 0))}))
}
