package e2e

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// clock N|leader DURATION lets the wall clock of the node of machine N, or of the one that leads, differ from this machine's, as
// long as its process lives.
func clockCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: clock N|leader DURATION")
	}
	ahead, err := time.ParseDuration(args[1])
	ts.Check(err)
	if all := machinesOf(ts); args[0] == "leader" {
		m := leaderOf(context.Background(), all)
		if m == nil {
			ts.Fatalf("no node leads")
		}
		ts.Check(m.setClock(ahead))
		return
	}
	ts.Check(machineOf(ts, args[0]).setClock(ahead))
}

// setClock lets the wall clock of the node's process differ from this machine's, which no namespace of Linux does. Go asks
// for the time by a function of the vDSO. The process gets another one in its place, which asks the kernel and adds the
// difference to CLOCK_REALTIME. Other clocks stay as they are, as if somebody had set the machine's.
func (m *machine) setClock(ahead time.Duration) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("a clock can't be set on %s", runtime.GOARCH)
	}
	pid, err := m.pid()
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	from, to, err := vdsoOf(pid)
	if err != nil {
		return err
	}
	at, err := functionIn(memory, from, to)
	if err != nil {
		return err
	}
	code := []byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME?
		0x75, 0x0d, // jne +13
		0x48, 0xb9, // mov rcx, seconds
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(int64(ahead/time.Second)))
	code = append(code, 0x48, 0x01, 0x0e, 0xc3) // add [rsi], rcx; ret
	return whileStopped(pid, from, to, func() error {
		_, err := memory.WriteAt(code, int64(at))
		return err
	})
}

// vdsoOf returns where a process has its vDSO.
func vdsoOf(pid int) (from, to uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, errors.New("no vDSO")
}

// functionIn returns where a process has the vDSO's clock_gettime.
func functionIn(memory *os.File, from, to uint64) (uint64, error) {
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, int64(from)); err != nil {
		return 0, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := file.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return from + s.Value, nil
		}
	}
	return 0, errors.Join(errors.New("the vDSO has no clock_gettime"), err)
}

// whileStopped does something while a process is stopped, and none of its threads is in its vDSO.
func whileStopped(pid int, from, to uint64, do func() error) (err error) {
	for range 1000 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		if stoppedOutside(pid, from, to) {
			err = do()
			return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // a poll, with an end
	}
	return errors.New("the process is never outside of its vDSO")
}

// stoppedOutside waits for a moment until all threads of a process stand still, and reports whether none is in its vDSO.
func stoppedOutside(pid int, from, to uint64) bool {
	for range 200 {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return false
		}
		still, outside := 0, 0
		for _, t := range threads {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
			if _, after, ok := strings.Cut(string(stat), ") "); err != nil || !ok || !strings.HasPrefix(after, "T") {
				continue
			}
			still++
			at, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, t.Name()))
			fields := strings.Fields(string(at))
			if err != nil || len(fields) == 0 {
				continue
			}
			if pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64); err == nil && (pc < from || pc >= to) {
				outside++
			}
		}
		if still == len(threads) {
			return outside == still
		}
		time.Sleep(time.Millisecond) // a poll, with an end
	}
	return false
}
