package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
)

// node is a node that was started for measuring.
type node struct {
	program string
	dir     string
	http    string // address of its router
	dns     string
	process *exec.Cmd
	output  *bytes.Buffer
	client  *api.Client
}

const startLimit = 30 * time.Second

// startNode starts a node on an empty folder and returns how long that took, by the READY=1 it tells
// its supervisor (sd_notify(3)).
func startNode(ctx context.Context, program string) (_ *node, took time.Duration, err error) {
	dir, err := os.MkdirTemp("", "mb")
	if err != nil {
		return nil, 0, err
	}
	http, dns, err := freePorts()
	if err != nil {
		return nil, 0, err
	}
	n := &node{program: program, dir: dir, http: http, dns: dns, output: &bytes.Buffer{}}
	if took, err = n.start(ctx); err != nil {
		return nil, 0, errors.Join(err, n.close())
	}
	n.client, err = api.New("unix://" + n.data() + "/micro.sock")
	if err != nil {
		return nil, 0, errors.Join(err, n.close())
	}
	return n, took, nil
}

// start executes the node's program and returns when it is ready.
func (n *node) start(ctx context.Context) (took time.Duration, err error) {
	at := filepath.Join(n.dir, "notify")
	if err := os.RemoveAll(at); err != nil {
		return 0, err
	}
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		return 0, err
	}
	defer notices.Close()
	n.process = exec.CommandContext(ctx, n.program, "up", "--data", n.data(), "--name", "bench",
		"--http", n.http, "--dns", n.dns, "--subnet", "10.213.0.0/20")
	n.process.Env = append(os.Environ(), "NOTIFY_SOCKET="+at)
	n.process.Stdout, n.process.Stderr = n.output, n.output
	n.process.Cancel = func() error { return n.process.Process.Signal(syscall.SIGTERM) }
	begin := time.Now()
	if err := n.process.Start(); err != nil {
		return 0, err
	}
	if err := waitReady(notices); err != nil {
		return 0, fmt.Errorf("micro up: %w: %s", err, n.output)
	}
	return time.Since(begin), nil
}

func (n *node) data() string { return filepath.Join(n.dir, "d") }

func waitReady(notices *net.UnixConn) error {
	if err := notices.SetReadDeadline(time.Now().Add(startLimit)); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		size, err := notices.Read(buffer)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(buffer[:size])) {
			if strings.TrimSpace(line) == "READY=1" {
				return nil
			}
		}
	}
}

// freePorts returns two addresses on loopback that nothing listens on.
func freePorts() (http, dns string, err error) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer a.Close()
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer b.Close()
	return a.Addr().String(), b.Addr().String(), nil
}

// micro runs the command line against the node, and returns what it prints.
func (n *node) micro(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.program, args...)
	cmd.Env = append(os.Environ(), "MICRO_DATA="+n.data(), "CI=1")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("micro %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.String(), nil
}

// rss is the memory of the node's process in bytes, half a minute after it had something to do.
func (n *node) rss() (int64, error) {
	time.Sleep(30 * time.Second)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kib << 10, err
}

// close takes the node down, with all that it made.
func (n *node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, down := n.micro(ctx, "down", "--data", n.data())
	_ = n.process.Process.Signal(syscall.SIGTERM) // where down did not reach it
	_ = n.process.Wait()
	return errors.Join(down, os.RemoveAll(n.dir))
}
