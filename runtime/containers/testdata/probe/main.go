// Command probe is the program in the tests' containers: it does what its arguments ask for and prints the result.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "sh" { // a shell that only knows "-c exec words"
		args = strings.Fields(strings.TrimPrefix(args[1], "exec "))
	}
	if len(args) > 0 && args[0] == "/probe" {
		args = args[1:]
	}
	verb := "serve"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	do, ok := verbs[verb]
	if !ok {
		fmt.Fprintln(os.Stderr, "probe: no verb", verb)
		os.Exit(2)
	}
	do(args)
}

var verbs = map[string]func([]string){
	"serve":  serve,
	"report": report,
	"say":    func(a []string) { fmt.Println(strings.Join(a, " ")) },
	"env":    func([]string) { fmt.Println(strings.Join(os.Environ(), "\n")) },
	"exit":   func(a []string) { code, _ := strconv.Atoi(a[0]); os.Exit(code) },
	"sleep":  func(a []string) { d, _ := time.ParseDuration(a[0]); time.Sleep(d) },
	"eat":    eat,
	"fork":   fork,
	"cat":    cat,
	"copy":   func([]string) { n, _ := io.Copy(os.Stdout, os.Stdin); fmt.Println("copied", n) },
	"tty":    tty,
	"spin": func([]string) {
		for {
		}
	},
	"stat": stat,
	"drop": drop,
	"dial": dial,
	"flood": func(a []string) {
		for i := range 1000 {
			fmt.Println("line", i)
		}
	},
	"child":    child,
	"files":    files,
	"orphans":  orphans,
	"own":      own,
	"leave":    leave,
	"hold":     func(a []string) { start(append([]string{"sleep"}, a...)...); fmt.Println("held") },
	"chatter":  func([]string) { start("chat"); fmt.Println("chatters") },
	"chat":     chat,
	"signals":  signals,
	"exhaust":  exhaust,
	"pour":     pour,
	"unlinked": unlinked,
	"die":      func([]string) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
}

// start starts this program again, with the same output, and does not wait for it.
func start(args ...string) {
	c := exec.Command("/probe", args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// chat writes a line every millisecond.
func chat([]string) {
	for {
		fmt.Println("still here")
		time.Sleep(time.Millisecond)
	}
}

// files prints all files below a folder with their content.
func files(a []string) {
	err := filepath.WalkDir(a[0], func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Printf("%s: %s\n", path, text)
		return err
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// own prints whose a file is, and gives it to user 1000.
func own(a []string) {
	var before, after syscall.Stat_t
	if err := errors.Join(syscall.Stat(a[0], &before), os.Chown(a[0], 1000, 1000), syscall.Stat(a[0], &after)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("%d:%d, then %d:%d\n", before.Uid, before.Gid, after.Uid, after.Gid)
}

// leave starts a short-lived process and ends before it.
func leave([]string) { start("sleep", "1ms") }

// orphans makes n orphans that end, prints how many zombies there are, and serves.
func orphans(a []string) {
	n, _ := strconv.Atoi(a[0])
	for range n {
		if err := exec.Command("/probe", "leave").Run(); err != nil {
			fmt.Println(err)
			break
		}
	}
	serve(nil)
}

// pour prints n MiB of lines, and serves.
func pour(a []string) {
	n, _ := strconv.Atoi(a[0])
	line := []byte(strings.Repeat("z", 1023) + "\n")
	for range n << 10 {
		_, _ = os.Stdout.Write(line)
	}
	serve(nil)
}

// unlinked writes n MiB to each of some files that it unlinks and holds open, makes a number of others, and serves.
func unlinked(a []string) {
	size, _ := strconv.Atoi(a[0])
	files, _ := strconv.Atoi(a[1])
	for _, name := range []string{"/open", "/mapped", "/vol/open", "/dev/shm/open"} {
		f, err := os.Create(name)
		if err == nil {
			_, err = f.Write(make([]byte, size<<20))
		}
		if err == nil {
			err = os.Remove(name)
		}
		if name == "/mapped" {
			_, err = syscall.Mmap(int(f.Fd()), 0, size<<20, syscall.PROT_READ, syscall.MAP_SHARED)
			f.Close()
		}
		if err != nil {
			fmt.Println(err)
		}
		held = append(held, f)
	}
	for i := range files {
		_ = os.WriteFile("/tmp-"+strconv.Itoa(i), nil, 0o600)
	}
	serve(nil)
}

var held []*os.File

// signals prints the signals that it receives, and ends at SIGTERM.
func signals([]string) {
	got := make(chan os.Signal, 100)
	signal.Notify(got)
	fmt.Println("ready")
	for s := range got {
		if s == syscall.SIGURG || s == syscall.SIGCHLD { // Go's runtime uses SIGURG
			continue
		}
		fmt.Println(s)
		if s == syscall.SIGTERM {
			os.Exit(9)
		}
	}
}

// stat prints the type and owner of files.
func stat(names []string) {
	for _, name := range names {
		var st syscall.Stat_t
		if err := syscall.Lstat(name, &st); err != nil {
			fmt.Println(name, err)
			continue
		}
		fmt.Printf("%s %o %d:%d\n", name, st.Mode, st.Uid, st.Gid)
	}
}

// serve answers "ok" on port 80 and on PORT until SIGTERM or SIGUSR1, and exits with 0 then.
func serve([]string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGUSR1)
	ports := []string{"80"}
	if p := os.Getenv("PORT"); p != "" {
		ports = append(ports, p)
	}
	for _, p := range ports {
		l, err := net.Listen("tcp", ":"+p)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, "ok ", c.RemoteAddr())
				c.Close()
			}
		}()
	}
	fmt.Println("serving")
	if s := <-stop; s != syscall.SIGTERM {
		fmt.Println(s)
	}
	fmt.Println("stopping")
}

// report prints what the process is allowed to do.
func report([]string) {
	fmt.Println("uid", os.Getuid(), "gid", os.Getgid())
	groups, _ := os.Getgroups()
	fmt.Println("groups", groups)
	wd, _ := os.Getwd()
	host, _ := os.Hostname()
	fmt.Println("dir", wd, "host", host, "pid", os.Getpid())
	for _, f := range []string{"/proc/self/uid_map", "/proc/self/gid_map", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/proc/self/cgroup", "/proc/self/oom_score_adj"} {
		b, err := os.ReadFile(f)
		fmt.Printf("%s: %s %v\n", f, strings.Join(strings.Fields(string(b)), " "), err)
	}
	var st syscall.Statfs_t
	const tmpfs = 0x01021994
	fmt.Println("statfs /etc/hosts:", syscall.Statfs("/etc/hosts", &st), "in memory:", st.Type == tmpfs)
	status, _ := os.Open("/proc/self/status")
	for s := bufio.NewScanner(status); s.Scan(); {
		for _, k := range []string{"CapEff", "CapBnd", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp:"} {
			if strings.HasPrefix(s.Text(), k) {
				fmt.Println(strings.Join(strings.Fields(s.Text()), " "))
			}
		}
	}
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	var core syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_CORE, &core)
	fmt.Println("nofile", files.Cur, files.Max, "core", core.Cur, core.Max)
	try := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }
	try("write /", os.WriteFile("/made", nil, 0o644))
	try("write /vol", os.WriteFile("/vol/made", nil, 0o644))
	try("chown", os.Chown("/made", 999, 999))
	try("unshare user", syscall.Unshare(syscall.CLONE_NEWUSER))
	try("mount", syscall.Mount("x", "/tmp", "tmpfs", 0, ""))
	try("mknod", syscall.Mknod("/sda", syscall.S_IFBLK|0o600, 0x800))
	_, _, e := syscall.Syscall(syscall.SYS_KEYCTL, 0, 0, 0)
	try("keyctl", errno(e))
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP)
	try("raw socket", err)
	_ = syscall.Close(fd)
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, syscall.IPPROTO_ICMP)
	try("ping socket", err)
	_ = syscall.Close(fd)
	l, err := net.Listen("tcp", ":81")
	try("listen 81", err)
	if l != nil {
		l.Close()
	}
	try("write sysctl", os.WriteFile("/proc/sys/kernel/hostname", []byte("x"), 0))
	try("write cgroup", os.WriteFile("/sys/fs/cgroup/memory/memory.limit_in_bytes", []byte("-1"), 0))
	_, err = os.ReadFile("/proc/kcore")
	try("kcore", err)
	links, _ := filepath.Glob("/sys/class/net/*")
	fmt.Println("links", links)
	var shm syscall.Statfs_t
	_ = syscall.Statfs("/dev/shm", &shm)
	fmt.Println("shm", int64(shm.Blocks)*shm.Bsize)
	out, err := os.OpenFile("/dev/stdout", os.O_WRONLY|os.O_APPEND, 0)
	try("reopen stdout", err)
	out.Close()
	for _, f := range []string{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"} {
		if b, err := os.ReadFile(f); err == nil {
			fmt.Println("sees memory", strings.TrimSpace(string(b)))
		}
	}
}

func errno(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

var kept [][]byte

func eat([]string) {
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
	}
}

// child runs a child that uses up memory, and fails when the child is killed.
func child([]string) {
	c := exec.Command("/probe", "eat")
	fmt.Println(c.Run())
	os.Exit(3)
}

// fork starts processes until that fails.
func fork([]string) {
	for i := range 10000 {
		c := exec.Command("/probe", "sleep", "1m")
		if err := c.Start(); err != nil {
			fmt.Println("refused after", i, errors.Is(err, syscall.EAGAIN))
			return
		}
	}
	fmt.Println("never refused")
}

func cat(files []string) {
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Stdout.Write(b)
	}
}

// tty prints the terminal's size, at the start and for every line of input.
func tty([]string) {
	for s := bufio.NewScanner(os.Stdin); ; {
		rows, columns, err := size()
		fmt.Println("size", rows, columns, err)
		if !s.Scan() || s.Text() == "quit" {
			os.Exit(7)
		}
	}
}

// drop does what official images do: it prepares files as root, then switches to another user.
func drop([]string) {
	must := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	must(os.MkdirAll("/data", 0o700))
	must(os.Chown("/data", 999, 999))
	must(syscall.Setgroups([]int{999}))
	must(syscall.Setgid(999))
	must(syscall.Setuid(999))
	must(os.WriteFile("/data/file", []byte("x"), 0o600))
	if err := os.WriteFile("/etc/file", nil, 0o600); err == nil {
		must(errors.New("still root"))
	}
	fmt.Println("dropped to", os.Getuid())
}

func dial(a []string) {
	c, err := net.DialTimeout(a[0], a[1], time.Second)
	if err != nil {
		fmt.Println("no:", err)
		os.Exit(1)
	}
	b, _ := io.ReadAll(c)
	fmt.Println(string(b))
}
