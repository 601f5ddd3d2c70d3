// Command sh is the shell of the tests' images: one static program that runs the few commands that
// Dockerfiles of the tests have, joined by && or ;.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	args := os.Args[1:]
	if len(args) == 2 && args[0] == "-c" {
		os.Exit(script(args[1]))
	}
	os.Exit(run(args))
}

func script(text string) int {
	code := 0
	for part := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(text, "&&", ";"), "\n", ";"), ";") {
		if fields := strings.Fields(part); len(fields) > 0 {
			if code = run(fields); code != 0 {
				return code
			}
		}
	}
	return code
}

func run(a []string) int {
	if err := command(a); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", a[0], err)
		return 1
	}
	return 0
}

func command(a []string) error {
	switch a[0] {
	case "echo":
		to, words := io.Writer(os.Stdout), a[1:]
		if len(a) > 3 && a[len(a)-2] == ">" {
			f, err := os.Create(a[len(a)-1])
			if err != nil {
				return err
			}
			defer f.Close()
			to, words = f, a[1:len(a)-2]
		}
		for i, w := range words {
			words[i] = os.ExpandEnv(w)
		}
		_, err := fmt.Fprintln(to, strings.Join(words, " "))
		return err
	case "cat":
		b, err := os.ReadFile(a[1])
		os.Stdout.Write(b)
		return err
	case "test": // test -e PATH | test ! -e PATH
		_, err := os.Stat(a[len(a)-1])
		if (a[1] == "!") == (err != nil) {
			return nil
		}
		return fmt.Errorf("%v is not so", a[1:])
	case "exit":
		code, err := strconv.Atoi(a[1])
		if err == nil {
			os.Exit(code)
		}
		return err
	case "lines":
		n, err := strconv.Atoi(a[1])
		for i := range n {
			fmt.Println("line", i+1)
		}
		return err
	case "sleep":
		d, err := time.ParseDuration(a[1])
		time.Sleep(d)
		return err
	case "fill": // fill PATH MEBIBYTES
		n, err := strconv.Atoi(a[2])
		if err != nil {
			return err
		}
		f, err := os.Create(a[1])
		if err != nil {
			return err
		}
		defer f.Close()
		for block := make([]byte, 1<<20); n > 0; n-- {
			if _, err := f.Write(block); err != nil {
				return err
			}
		}
		return nil
	case "eat": // eat MEBIBYTES of memory
		n, err := strconv.Atoi(a[1])
		var all [][]byte
		for range n {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
		fmt.Println(len(all))
		return err
	case "fork": // fork N processes that sleep
		n, err := strconv.Atoi(a[1])
		if err != nil {
			return err
		}
		for range n {
			if err := exec.Command("/bin/sh", "sleep", "5s").Start(); err != nil {
				return err
			}
		}
		return nil
	case "dial": // dial HOST:PORT
		c, err := net.DialTimeout("tcp", a[1], 2*time.Second)
		if err != nil {
			return err
		}
		fmt.Println("connected to", a[1])
		return c.Close()
	case "namespaces":
		for _, ns := range []string{"net", "user"} {
			is, err := os.Readlink("/proc/self/ns/" + ns)
			if err != nil {
				return err
			}
			fmt.Println(is)
		}
		return nil
	case "ifs":
		names, err := filepath.Glob("/sys/class/net/*")
		for _, n := range names {
			fmt.Println("interface", filepath.Base(n))
		}
		return err
	case "own": // own UID GID PATH, made where it is not there
		uid, err := strconv.Atoi(a[1])
		gid, err2 := strconv.Atoi(a[2])
		f, err3 := os.OpenFile(a[3], os.O_CREATE|os.O_RDONLY, 0o755)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		defer f.Close()
		return f.Chown(uid, gid)
	case "owner":
		fi, err := os.Stat(a[1])
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		fmt.Printf("%s %d:%d %v\n", a[1], st.Uid, st.Gid, fi.Mode())
		return nil
	case "setuid":
		return os.Chmod(a[1], 0o755|os.ModeSetuid)
	case "filecap": // filecap PATH [BIT]: cap_net_bind_service=ep or another, as setcap writes it
		bit := 10
		if len(a) > 2 {
			var err error
			if bit, err = strconv.Atoi(a[2]); err != nil {
				return err
			}
		}
		value := make([]byte, 20)
		binary.LittleEndian.PutUint32(value, 0x02000001)
		binary.LittleEndian.PutUint32(value[4:], 1<<bit)
		return syscall.Setxattr(a[1], "security.capability", value, 0)
	case "status": // status FIELD...: of this process
		b, err := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); slices.Contains(a[1:], name) {
				fmt.Println(name + ": " + strings.TrimSpace(value))
			}
		}
		return err
	case "mknod": // the machine's first disk
		return syscall.Mknod(a[1], syscall.S_IFBLK|0o666, 8<<8)
	case "mount":
		return syscall.Mount("none", "/bin", "tmpfs", 0, "")
	case "aio": // takes from what the whole machine has once
		var ctx uintptr
		_, _, errno := syscall.Syscall(syscall.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ctx)), 0)
		fmt.Println("io_setup:", errno)
		return nil
	case "rm":
		return os.Remove(a[1])
	case "mkdir":
		return os.MkdirAll(a[len(a)-1], 0o755)
	case "true":
		return nil
	}
	return exec.ErrNotFound
}
