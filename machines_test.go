package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

var machineSets atomic.Int32

// onMachine is a program that runs another one on a machine: on N PROGRAM ARGS…
const onMachine = `#!/bin/sh
MACHINES=%s MACHINE_DIR=%s
# on N PROGRAM ARGS… runs a program on machine N; micro there has its own node. An argument "<FILE" stands for what is in
# the file.
n=$1
shift
count=$#
while [ $count -gt 0 ]; do
	arg=$1
	shift
	count=$((count - 1))
	case $arg in "<"*) arg=$(cat "${arg#<}") ;; esac
	set -- "$@" "$arg"
done
unset MICRO_HTTP MICRO_DNS MICRO_SUBNET NODE
exec nsenter --net=/run/netns/$MACHINES$n env MICRO_DATA=$MACHINE_DIR/$n MICRO_NAME=n$n "$@"
`

// machines N makes machines: network namespaces in one network, which see nothing of this machine's. "exec on 2 micro ps"
// runs a program on the second, whose node is n2 at 10.77.0.2. They are gone when the script ends.
func machinesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: machines N")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	name := fmt.Sprintf("mt%dx%d-", os.Getpid(), machineSets.Add(1))
	dir, err := os.MkdirTemp("", "mm")
	ts.Check(err)
	ts.Check(os.Chmod(dir, 0o711))
	ip := func(line string, values ...any) {
		cmd := exec.Command("ip", strings.Fields(fmt.Sprintf(line, values...))...)
		if out, err := cmd.CombinedOutput(); err != nil {
			ts.Fatalf("%v: %v: %s", cmd.Args, err, out)
		}
	}
	ts.Setenv("MACHINES", name)
	ts.Setenv("MACHINE_DIR", dir)
	ts.Check(os.WriteFile(filepath.Join(dir, "on"), fmt.Appendf(nil, onMachine, name, dir), 0o755))
	ts.Setenv("PATH", dir+":"+ts.Getenv("PATH"))
	ts.Defer(func() {
		for n := 1; n <= count; n++ {
			if _, err := os.Stat(filepath.Join(dir, strconv.Itoa(n))); err != nil {
				continue
			}
			down := exec.Command(filepath.Join(dir, "on"), strconv.Itoa(n), "micro", "down")
			down.Env = environment(ts)
			if out, err := down.CombinedOutput(); err != nil {
				ts.Logf("micro down on machine %d: %v: %s", n, err, out)
			}
		}
		for n := 0; n <= count; n++ {
			_ = exec.Command("ip", "netns", "del", name+strconv.Itoa(n)).Run() // one that was not made yet
		}
		ts.Check(os.RemoveAll(dir))
	})
	ip("netns add %s0", name)
	ip("-n %s0 link add br0 type bridge", name)
	ip("-n %s0 link set br0 up", name)
	for n := 1; n <= count; n++ {
		machine := fmt.Sprintf("%s%d", name, n)
		ip("netns add %s", machine)
		ip("-n %s link set lo up", machine)
		ip("-n %s link add eth0 type veth peer name m%d netns %s0", machine, n, name)
		ip("-n %s0 link set m%d master br0 up", name, n)
		ip("-n %s addr add 10.77.0.%d/24 dev eth0", machine, n)
		ip("-n %s link set eth0 up", machine)
	}
}

// cable N on|off plugs a machine into the network, or pulls its cable.
func cableCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cable N on|off")
	}
	state := map[string]string{"on": "up", "off": "down"}[args[1]]
	ts.Check(exec.Command("ip", "-n", ts.Getenv("MACHINES")+"0", "link", "set", "m"+args[0], state).Run())
}

// signal N SIGNAL sends a signal to the node of machine N. For KILL it waits for the process's end.
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal N SIGNAL")
	}
	pid, err := os.ReadFile(filepath.Join(ts.Getenv("MACHINE_DIR"), args[0], "lock"))
	ts.Check(err)
	process := strings.TrimSpace(string(pid))
	ts.Check(exec.Command("kill", "-"+args[1], process).Run())
	for args[1] == "KILL" && exec.Command("kill", "-0", process).Run() == nil {
		if stat, err := os.ReadFile("/proc/" + process + "/stat"); err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
	}
}
