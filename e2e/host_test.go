package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/engine"
)

// code N PROGRAM ARGS… runs a program that is to end with exit code N.
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	checkCode(ts, err, want)
}

func checkCode(ts *testscript.TestScript, err error, want int) {
	got := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// as UID N micro ARGS… runs micro as a user without any rights; it is to end with exit code N.
func asCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[2] != "micro" {
		ts.Fatalf("usage: as UID N micro ARGS…")
	}
	uid, err := strconv.ParseUint(args[0], 10, 32)
	ts.Check(err)
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	// The folder that the program is in is root's; the link to one's own program can be followed.
	cmd := exec.Command("/proc/self/exe", args[3:]...)
	cmd.Args[0] = "micro"
	cmd.Env = environment(ts)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	checkCode(ts, cmd.Run(), want)
}

// hold tcp|udp|ip ADDRESS takes an address until the script ends.
func holdCommand(ts *testscript.TestScript, neg bool, args []string) {
	var c io.Closer
	var err error
	switch {
	case !neg && len(args) == 2 && args[0] == "tcp":
		c, err = net.Listen("tcp", args[1])
	case !neg && len(args) == 2 && args[0] == "udp":
		c, err = net.ListenPacket("udp", args[1])
	case !neg && len(args) == 2 && args[0] == "ip":
		address, err := netlink.ParseAddr(args[1])
		ts.Check(err)
		lo, err := netlink.LinkByName("lo")
		ts.Check(err)
		ts.Check(netlink.AddrAdd(lo, address))
		ts.Defer(func() { ts.Check(netlink.AddrDel(lo, address)) })
		return
	default:
		ts.Fatalf("usage: hold tcp|udp|ip ADDRESS")
	}
	ts.Check(err)
	ts.Defer(func() { c.Close() })
}

// disk SIZE makes the data folder of the script's node a file system of its own that is so large.
func diskCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: disk SIZE")
	}
	data := ts.Getenv("MICRO_DATA")
	ts.Check(os.MkdirAll(data, 0o711))
	ts.Check(unix.Mount("script", data, "tmpfs", 0, "mode=0711,size="+args[0])) // set-up unmounts it
}

// census is what a node has on the host. Spares are shims that nothing is in.
type census struct{ Namespaces, Links, Mounts, Groups, Shims, Spares int }

func count(data string) (c census) {
	state := engine.StateDir(data)
	pins, _ := filepath.Glob(state + "/net/*.net")
	links, _ := filepath.Glob("/sys/class/net/" + linkPrefix(data) + "*")
	c.Namespaces, c.Links = len(pins), len(links)
	for _, pin := range pins {
		if filepath.Base(pin) == "_spare.net" { // for the next container, gone with the node
			c.Namespaces--
		}
		if strings.HasPrefix(filepath.Base(pin), "build-") { // the builder's, for as long as it waits for more
			c.Namespaces--
			c.Links--
		}
	}
	for _, root := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/pids/"} { // v2, v1
		groups, _ := filepath.Glob(root + "micro/" + filepath.Base(state) + "/*/cgroup.procs")
		c.Groups = max(c.Groups, len(groups))
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, state) && strings.Contains(line, " - overlay ") {
				c.Mounts++
			}
		}
	}
	for pid, args := range commandLines() {
		if !strings.Contains(strings.Join(args, " "), state) || !slices.Contains(args, "-namespace") {
			continue
		}
		if len(children(pid)) > 0 {
			c.Shims++
		} else {
			c.Spares++
		}
	}
	return c
}

// children are the processes that a process has started.
func children(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // each thread has its own
	for _, file := range files {
		list, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// nameHash is what the firewall's table of a node is called by; its links have the first five letters.
func nameHash(data string) string {
	sum := sha256.Sum256([]byte(data))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func linkPrefix(data string) string { return "m" + nameHash(data)[:5] }

// leftInNetwork names a link, an address or a firewall's table of a node, "" for none.
func leftInNetwork(data string) string {
	if links, _ := filepath.Glob("/sys/class/net/" + linkPrefix(data) + "*"); len(links) > 0 {
		return "link " + links[0]
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err.Error()
	}
	addresses, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return err.Error()
	}
	for _, a := range addresses {
		if strings.Contains(a.Label, linkPrefix(data)) {
			return "address " + a.String()
		}
	}
	c, err := nftables.New()
	if err != nil {
		return err.Error()
	}
	tables, err := c.ListTables()
	if err != nil {
		return err.Error()
	}
	for _, t := range tables {
		if t.Name == "micro_"+nameHash(data) {
			return "table " + t.Name
		}
	}
	return ""
}

// commandLines are those of all processes of this machine.
func commandLines() map[int][]string {
	all := map[int][]string{}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		pid, err := strconv.Atoi(strings.Split(p, "/")[2])
		if err != nil {
			continue
		}
		if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
			all[pid] = strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		}
	}
	return all
}

// containers N waits until the node has exactly so many containers, with all that belongs to one on the
// host: what was taken down may take its time, what was left never goes.
func containersCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: containers N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := ts.Getenv("MICRO_DATA")
	deadline := time.Now().Add(patience) // a shim that nobody leads to is ended within 20 s
	for {
		c := count(data)
		if c.Namespaces == want && c.Links == want && c.Mounts == want && c.Groups == want && c.Shims <= want && (c.Shims > 0 || want == 0) && c.Spares <= 1 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("on the host are %+v, want %d containers and a spare shim at most", c, want)
		}
		time.Sleep(50 * time.Millisecond) // a poll, with an end
	}
}

// builder kill ends the process that builds images for the script's node.
func builderCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "kill" {
		ts.Fatalf("usage: builder kill")
	}
	for _, pid := range children(nodePID(ts)) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // others may have ended
		if strings.HasSuffix(string(args), "\x00"+build.ChildArg+"\x00") {
			ts.Check(syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	ts.Fatalf("no builder runs")
}

// break shims|table|link|pin takes away what the script's node has on the host: all shims as a reboot
// would, the firewall's table, a container's link, the pin of a container's network.
func breakCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: break shims|table|link|pin")
	}
	data := ts.Getenv("MICRO_DATA")
	state := engine.StateDir(data)
	switch args[0] {
	case "shims":
		n := 0
		for pid, args := range commandLines() {
			if strings.Contains(strings.Join(args, " "), state) && slices.Contains(args, "-namespace") {
				ts.Check(syscall.Kill(pid, syscall.SIGKILL))
				n++
			}
		}
		if n == 0 {
			ts.Fatalf("no shim runs")
		}
	case "table":
		c, err := nftables.New()
		ts.Check(err)
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "micro_" + nameHash(data)})
		ts.Check(c.Flush())
	case "link":
		links, err := netlink.LinkList()
		ts.Check(err)
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, linkPrefix(data)) {
				ts.Check(netlink.LinkDel(l))
				return
			}
		}
		ts.Fatalf("no link")
	case "pin":
		pins, err := filepath.Glob(state + "/net/*-web-*.net")
		ts.Check(err)
		if len(pins) == 0 {
			ts.Fatalf("no pin")
		}
		ts.Check(unix.Unmount(pins[0], unix.MNT_DETACH))
		ts.Check(os.Remove(pins[0]))
	default:
		ts.Fatalf("unknown: %s", args[0])
	}
}

// archive PRESET… puts archives of images made of Debian packages into the script's folder.
func archiveCommand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(os.Symlink(imageArchive(ts, name), ts.MkAbs(name+".tar")))
	}
}

// json KEYS… parses the output of the command before, one value or a line each, and checks that every
// object of it has the keys.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	n := 0
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, e := range list {
			n++
			object, ok := e.(map[string]any)
			if !ok {
				ts.Fatalf("%v is no object", e)
			}
			for _, key := range args {
				if _, ok := object[key]; !ok {
					ts.Fatalf("no %q in %v", key, object)
				}
			}
		}
	}
	if (n == 0) != neg {
		ts.Fatalf("%d objects", n)
	}
}

// tty [-size ROWSxCOLUMNS] [-type TEXT]… [-resize ROWSxCOLUMNS]… PROGRAM ARGS… runs a program on a
// terminal. What is typed and resized happens in its order, each once the program has printed "ready"
// so many times.
func ttyCommand(ts *testscript.TestScript, neg bool, args []string) {
	type act struct{ kind, value string }
	var acts []act
	size := "24x80"
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		if args[0] == "-size" {
			size = args[1]
		} else {
			acts = append(acts, act{args[0], args[1]})
		}
		args = args[2:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tty [-size RxC] [-type TEXT] [-resize RxC] PROGRAM ARGS…")
	}
	master, slave, err := openTerminal()
	ts.Check(err)
	defer master.Close()
	resize := func(s string) {
		var rows, columns uint16
		_, err := fmt.Sscanf(s, "%dx%d", &rows, &columns)
		ts.Check(err)
		ts.Check(unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	}
	resize(size)
	path, err := lookPath(ts.Getenv("PATH"), args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Args[0], cmd.Dir = args[0], ts.MkAbs(".")
	cmd.Env = slices.DeleteFunc(environment(ts), func(kv string) bool { return strings.HasPrefix(kv, "CI=") })
	cmd.Env = append(cmd.Env, "TERM="+cmp.Or(ts.Getenv("TERM"), "xterm"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	var out strings.Builder
	done := make(chan error, 1)
	asked, ready := make(chan struct{}, len(acts)+100), regexp.MustCompile(`ready|\[y/N\]`)
	go func() {
		buf, seen := make([]byte, 4096), 0
		for {
			n, err := master.Read(buf)
			out.Write(buf[:n])
			for ; seen < len(ready.FindAllString(out.String(), 100)); seen++ {
				asked <- struct{}{}
			}
			if err != nil { // EIO: the last one has closed the other end
				done <- nil
				return
			}
		}
	}()
	for _, a := range acts {
		select {
		case <-asked:
		case <-ctx.Done():
			ts.Fatalf("the program was never ready for %s %s:\n%s", a.kind, a.value, out.String())
		}
		if a.kind == "-resize" {
			resize(a.value)
			continue
		}
		_, err := io.WriteString(master, strings.NewReplacer(`\n`, "\r", `\x03`, "\x03", `\x04`, "\x04").Replace(a.value))
		ts.Check(err)
	}
	err = cmd.Wait()
	slave.Close()
	<-done
	fmt.Fprint(ts.Stdout(), strings.ReplaceAll(out.String(), "\r\n", "\n"))
	if err != nil {
		fmt.Fprintf(ts.Stdout(), "\n%v\n", err)
	}
}

func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}
