package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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
	node := nodePID(ts)
	killer := startKiller(ts, n, node, node)
	var printed bytes.Buffer
	cmd := command(ts, &printed, args[1:]...)
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-killer.ended:
	case <-ended:
	case <-time.After(patience):
	}
	killer.stop()
	_ = syscall.Kill(node, syscall.SIGKILL)
	_ = cmd.Process.Kill() // it would wait for the node to come back
	<-ended
	for alive(node) {
		time.Sleep(5 * time.Millisecond)
	}
	// The tracer says that the moment has come before it kills, and the program may end before the tracer does.
	if killer.steps < n {
		ts.Fatalf("the node was about to make something durable %d times only, and %s printed:\n%s", killer.steps, args[1], printed.Bytes())
	}
}

// nodePID returns the process of the script's node.
func nodePID(ts *testscript.TestScript) int {
	lock, err := os.ReadFile(filepath.Join(ts.Getenv("MICRO_DATA"), "lock"))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(lock)))
	ts.Check(err)
	return pid
}

// command returns a program to start in the script's folder and environment. All that it prints goes to out.
func command(ts *testscript.TestScript, out io.Writer, args ...string) *exec.Cmd {
	path, err := lookPath(ts.Getenv("PATH"), args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// killer kills a process as another one is about to make something durable.
type killer struct {
	tracer *exec.Cmd
	// ended is closed when the tracer has ended. From then on, steps has how often something was about to be made durable.
	ended chan struct{}
	steps int
}

// startKiller has the process victim killed when node is about to make something durable for the nth time from now.
func startKiller(ts *testscript.TestScript, n, node, victim int) *killer {
	path, err := lookPath(ts.Getenv("PATH"), "killatsync")
	ts.Check(err)
	k := &killer{tracer: exec.Command(path, strconv.Itoa(n), strconv.Itoa(node), strconv.Itoa(victim)), ended: make(chan struct{})}
	printed, err := k.tracer.StdoutPipe()
	ts.Check(err)
	k.tracer.Stderr = ts.Stderr()
	ts.Check(k.tracer.Start())
	lines := bufio.NewScanner(printed)
	if !lines.Scan() {
		ts.Fatalf("cannot trace process %d: %v", node, k.tracer.Wait())
	}
	go func() {
		for lines.Scan() {
			k.steps++
		}
		_ = k.tracer.Wait()
		close(k.ended)
	}()
	return k
}

// stop ends the tracer, if it has not ended yet. The node goes on.
func (k *killer) stop() {
	_ = k.tracer.Process.Kill()
	<-k.ended
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
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		releases, instances := ask("releases"), ask("ps")
		if !strings.Contains(releases, `"starting"`) && strings.Count(instances, `"phase"`) == strings.Count(instances, `"phase": "ready"`) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not settled:\n%s\n%s", releases, instances)
		}
	}
}
