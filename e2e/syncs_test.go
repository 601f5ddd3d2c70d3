package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killAtSync is the program "killatsync N PID VICTIM": it kills the process VICTIM as one of the threads of PID, which may
// be the same, is about to carry out the Nth fdatasync(2) of all, and ends well. It prints a line when it has begun, and one
// for each of these calls.
//
// strace can't do it: it counts the calls of each thread apart, and follows the children too, which then can't
// be stopped before their first instruction, as the namespaces of containers are.
func killAtSync() {
	n, err1 := strconv.Atoi(os.Args[1])
	pid, err2 := strconv.Atoi(os.Args[2])
	victim, err3 := strconv.Atoi(os.Args[3])
	if err1 != nil || err2 != nil || err3 != nil {
		fmt.Fprintln(os.Stderr, "usage: killatsync N PID VICTIM")
		os.Exit(2)
	}
	if err := traceSyncs(n, pid, victim); err != nil {
		fmt.Fprintln(os.Stderr, "killatsync:", err)
		os.Exit(1)
	}
}

func traceSyncs(n, pid, victim int) error {
	runtime.LockOSThread() // which is the tracer
	if err := traceThreads(pid); err != nil {
		return err
	}
	fmt.Println("begun")
	within := map[int]bool{} // threads that are in a system call
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("wait: %w", err) // no thread is left
		case !status.Stopped():
			delete(within, tid)
			continue
		}
		forward := 0
		switch signal := status.StopSignal(); {
		case signal == unix.SIGTRAP|0x80: // at the begin of a system call, or at its end
			if within[tid] = !within[tid]; within[tid] && systemCall(tid) == unix.SYS_FDATASYNC {
				fmt.Println("fdatasync")
				if n--; n == 0 {
					return unix.Kill(victim, unix.SIGKILL)
				}
			}
		case int(status)>>16 != 0: // a thread began, was interrupted to be traced, or its process is stopped
		default:
			forward = int(signal)
		}
		if err := unix.PtraceSyscall(tid, forward); err != nil && err != unix.ESRCH {
			return fmt.Errorf("resume thread %d: %w", tid, err)
		}
	}
}

// traceThreads attaches to all threads of a process. Those that begin later are followed, children are not.
func traceThreads(pid int) error {
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESYSGOOD
	attached := map[int]bool{}
	for found := true; found; {
		found = false
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return err
			}
			if attached[tid] {
				continue
			}
			attached[tid], found = true, true
			for _, request := range []struct{ what, data uintptr }{{unix.PTRACE_SEIZE, options}, {unix.PTRACE_INTERRUPT, 0}} {
				// A thread that began after another was attached to is followed already; one may have ended.
				if _, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, request.what, uintptr(tid), 0, request.data, 0, 0); errno != 0 && errno != unix.ESRCH && errno != unix.EPERM {
					return fmt.Errorf("attach to thread %d: %w", tid, errno)
				}
			}
		}
	}
	if len(attached) == 0 {
		return fmt.Errorf("there is no process %d", pid)
	}
	return nil
}

// systemCall returns the number of the system call that a thread is about to carry out (ptrace(2),
// PTRACE_GET_SYSCALL_INFO), -1 for none.
func systemCall(tid int) int {
	var info struct {
		op     uint8
		_      [3]uint8
		_      uint32 // architecture
		_      [2]uint64
		number uint64
		_      [6]uint64
	}
	const get, entry = 0x420e, 1
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, get, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != entry {
		return -1
	}
	return int(info.number)
}
