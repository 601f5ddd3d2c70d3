package memory

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseProgram unmaps the pages of the program's own file. The start runs through most of it once, and a quiet node
// uses little. The kernel maps a page again, from its cache or from the file, when it is used.
func releaseProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); ; {
		if !lines.Scan() {
			return lines.Err()
		}
		from, to, ok := segment(lines.Text(), program)
		if !ok {
			continue
		}
		// There is no slice of this memory to hand to unix.Madvise: it is not Go's.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
}

// segment returns the addresses that a line of /proc/self/maps (proc(5)) is about, if nobody can have written there and
// it is of the program's file: what was written would be lost.
func segment(line, program string) (from, to uintptr, ok bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(rest, "r") || strings.HasPrefix(rest, "rw") || !strings.HasSuffix(rest, " "+program) {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(addresses, "%x-%x", &from, &to)
	return from, to, err == nil && n == 2
}
