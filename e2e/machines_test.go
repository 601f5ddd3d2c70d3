package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
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

// machines N [disks] makes machines: network namespaces in one network, which see nothing of this machine's. "exec on 2
// micro ps" runs a program on the second, whose node is n2 at 10.77.0.2. With disks, each has a file system of its own for
// its data. They are gone when the script ends.
func machinesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && (len(args) != 2 || args[1] != "disks") {
		ts.Fatalf("usage: machines N [disks]")
	}
	_, err := strconv.Atoi(args[0])
	ts.Check(err)
	set := fmt.Sprintf("mt%dx%d-", os.Getpid(), machineSets.Add(1))
	dir, err := os.MkdirTemp("", "mm")
	ts.Check(err)
	ts.Check(os.Chmod(dir, 0o711))
	ts.Setenv("MACHINES", set)
	ts.Setenv("MACHINE_DIR", dir)
	ts.Setenv("MACHINE_COUNT", args[0])
	ts.Check(os.WriteFile(filepath.Join(dir, "on"), fmt.Appendf(nil, onMachine, set, dir), 0o755))
	ts.Setenv("PATH", dir+":"+ts.Getenv("PATH"))
	ts.Defer(func() {
		var ending sync.WaitGroup
		for _, m := range machinesOf(ts) {
			ending.Go(func() { m.remove(ts) }) // all at once: the last ones alone would miss a majority
		}
		ending.Wait()
		_ = exec.Command("ip", "netns", "del", set+"0").Run() // it was not made yet
		ts.Check(os.RemoveAll(dir))
	})
	ts.Check(run("ip", "netns", "add", set+"0"))
	for _, bridge := range []string{"br0", "br1"} { // br1 is for machines that are cut off together
		ts.Check(run("ip", "-n", set+"0", "link", "add", bridge, "type", "bridge"))
		ts.Check(run("ip", "-n", set+"0", "link", "set", bridge, "up"))
	}
	for _, m := range machinesOf(ts) {
		ts.Check(m.plugIn())
		if len(args) == 2 {
			ts.Check(m.addDisk())
		}
	}
}

// remove takes the machine's node down and removes the machine.
func (m *machine) remove(ts *testscript.TestScript) {
	if _, err := os.Stat(m.data()); err == nil {
		down := exec.Command(filepath.Join(m.dir, "on"), strconv.Itoa(m.n), "micro", "down")
		down.Env = m.env
		if out, err := down.CombinedOutput(); err != nil {
			ts.Logf("micro down on machine %d: %v: %s", m.n, err, out)
		}
	}
	_ = exec.Command("ip", "netns", "del", m.space()).Run()  // it was not made yet
	_ = exec.Command("ip", "netns", "del", m.router()).Run() // it is not hidden
	if _, err := os.Stat(m.image()); err == nil {
		if err := m.unmountDisk(); err != nil {
			ts.Logf("%v", err)
			_ = unix.Unmount(m.data(), unix.MNT_DETACH) // better than a mount that stays
		}
	}
}

// machinesOf returns the machines of a script.
func machinesOf(ts *testscript.TestScript) (all []*machine) {
	count, err := strconv.Atoi(ts.Getenv("MACHINE_COUNT"))
	ts.Check(err)
	for n := 1; n <= count; n++ {
		all = append(all, newMachine(ts.Getenv("MACHINES"), ts.Getenv("MACHINE_DIR"), n, environment(ts)))
	}
	return all
}

func machineOf(ts *testscript.TestScript, number string) *machine {
	n, err := strconv.Atoi(number)
	ts.Check(err)
	all := machinesOf(ts)
	if n < 1 || n > len(all) {
		ts.Fatalf("no machine %d", n)
	}
	return all[n-1]
}

// nat N IP puts machine N behind a router with NAT, or gives the router another address. Its own address is 192.168.77.2, as that
// of every other machine that is hidden so.
func natCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nat N IP")
	}
	ts.Check(machineOf(ts, args[0]).hide(args[1]))
}

// cable N on|off plugs a machine into the network, or pulls its cable.
func cableCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || args[1] != "on" && args[1] != "off" {
		ts.Fatalf("usage: cable N on|off")
	}
	ts.Check(machineOf(ts, args[0]).pull(args[1] == "off"))
}

// signal N SIGNAL sends a signal to the node of machine N. For KILL it waits for the process's end.
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || unix.SignalNum("SIG"+args[1]) == 0 {
		ts.Fatalf("usage: signal N SIGNAL")
	}
	ts.Check(machineOf(ts, args[0]).signal(unix.SignalNum("SIG" + args[1])))
}
