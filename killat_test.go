package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// killat N PROGRAM ARGS… runs a program, and kills the script's node as it is about to make something
// durable for the Nth time in a thread of its (fdatasync(2), twice a transaction). The node is gone when it returns,
// also where it never came to that.
func killAtCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killat N PROGRAM ARGS…")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	lock, err := os.ReadFile(filepath.Join(ts.Getenv("MICRO_DATA"), "lock"))
	ts.Check(err)
	pid := strings.TrimSpace(string(lock))
	strace := exec.Command("strace", "-f", "-p", pid, "-o", "/dev/null", "-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:signal=KILL:when=%d", n))
	said, err := strace.StderrPipe()
	ts.Check(err)
	ts.Check(strace.Start())
	defer func() { _ = strace.Wait() }()
	for lines := bufio.NewScanner(said); ; {
		if !lines.Scan() {
			ts.Fatalf("strace does not attach to process %s", pid)
		}
		if strings.Contains(lines.Text(), "attached") {
			break
		}
	}
	go func() { // what it says of each thread must not fill the pipe
		buf := make([]byte, 4096)
		for _, err := said.Read(buf); err == nil; _, err = said.Read(buf) {
		}
	}()
	path, err := lookPath(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Args[0] = args[1]
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	id, err := strconv.Atoi(pid)
	ts.Check(err)
	for deadline := time.Now().Add(15 * time.Second); alive(id) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			deadline = time.Now().Add(-1) // all is durable that it asked for
		default:
		}
	}
	_ = syscall.Kill(id, syscall.SIGKILL)
	_ = strace.Process.Kill() // asked to end, it would wait for threads that wait for each other
	_ = cmd.Process.Kill()    // it would wait for the node to come back
	<-ended
	for alive(id) {
		time.Sleep(5 * time.Millisecond)
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// settled APP waits until nothing of an app is under way any more, and all of it runs.
func settledCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: settled APP")
	}
	path, err := lookPath(ts.Getenv("PATH"), "micro")
	ts.Check(err)
	ask := func(verb string) string {
		cmd := exec.Command(path, verb, args[0], "--json")
		cmd.Args[0], cmd.Env = "micro", environment(ts)
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("micro %s: %v\n%s", verb, err, out)
		}
		return string(out)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		releases, instances := ask("releases"), ask("ps")
		if !strings.Contains(releases, `"starting"`) && strings.Count(instances, `"phase"`) == strings.Count(instances, `"phase": "ready"`) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not settled:\n%s\n%s", releases, instances)
		}
	}
}
