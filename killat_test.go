package main

import (
	"bufio"
	"bytes"
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

// killat N PROGRAM ARGS… runs a program, and kills the script's node as it is about to make something durable for
// the Nth time since then (fdatasync(2), twice a transaction of the store or of containerd). The node is gone when it
// returns. It fails where the program ends and the node has not come to that: then nothing would have been tried.
func killAtCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killat N PROGRAM ARGS…")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	lock, err := os.ReadFile(filepath.Join(ts.Getenv("MICRO_DATA"), "lock"))
	ts.Check(err)
	node, err := strconv.Atoi(strings.TrimSpace(string(lock)))
	ts.Check(err)
	tracer, err := lookPath(ts.Getenv("PATH"), "killatsync")
	ts.Check(err)
	killer := exec.Command(tracer, args[0], strconv.Itoa(node))
	said, err := killer.StdoutPipe()
	ts.Check(err)
	killer.Stderr = ts.Stderr()
	ts.Check(killer.Start())
	lines := bufio.NewScanner(said)
	if !lines.Scan() {
		ts.Fatalf("cannot trace process %d: %v", node, killer.Wait())
	}
	path, err := lookPath(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Args[0] = args[1]
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	reached, over := 0, make(chan struct{})
	go func() {
		for lines.Scan() {
			reached++
		}
		_ = killer.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ended:
	case <-time.After(time.Minute):
	}
	_ = killer.Process.Kill()
	_ = syscall.Kill(node, syscall.SIGKILL)
	_ = cmd.Process.Kill() // it would wait for the node to come back
	<-ended
	for alive(node) {
		time.Sleep(5 * time.Millisecond)
	}
	// The tracer says that the moment has come before it kills, and the program may end before the tracer does.
	if <-over; reached < n {
		ts.Fatalf("the node was about to make something durable %d times only, and %s printed:\n%s", reached, args[1], printed.Bytes())
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
