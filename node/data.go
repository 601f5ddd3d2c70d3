package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// data is the folder that a node keeps its things in, and has to itself while it runs.
type data struct {
	dir  string
	lock *os.File
}

// openData makes the folder where it is missing, refuses one that others can write to, and locks it.
func openData(dir string) (*data, error) {
	if os.Geteuid() != 0 {
		return nil, cloud.Errorf(cloud.Denied, "micro up must be run as root: it makes containers and networks").WithHint("sudo micro up")
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot make the data folder: %w", err).WithHint("choose another with --data")
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	if err := config.CheckData(dir); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && owner.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return nil, cloud.Errorf(cloud.Invalid, "data folder %s is open to others than root (owner %d, mode %04o)", dir, owner.Uid, info.Mode().Perm()).
			WithHint("chown root %s && chmod 0711 %s", dir, dir)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	d := &data{dir: dir}
	return d, d.take()
}

// take locks the folder, and says who has it where that fails.
func (d *data) take() error {
	f, err := os.OpenFile(d.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot write to the data folder: %w", err).WithHint("choose another with --data")
	}
	for range 40 { // 2 s
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || alive(readPID(f)) {
			break
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // one that was killed has not let go of everything yet
	}
	if err != nil {
		defer f.Close()
		return cloud.Errorf(cloud.Conflict, "a node runs on %s already: %s", d.dir, processName(readPID(f))).
			WithHint("micro down, or choose other --data, --name and ports for a second node")
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return cloud.Errorf(cloud.Unavailable, "cannot write to the data folder: %w", err)
	}
	d.lock = f
	return nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}

// alive says whether a process runs: one that has ended and whose threads still go does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// processName is "process 123 (micro up)".
func processName(pid int) string {
	if pid == 0 {
		return "an unknown process"
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return fmt.Sprintf("process %d", pid)
	}
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	args[0] = filepath.Base(args[0])
	return fmt.Sprintf("process %d (%s)", pid, strings.Join(strings.Fields(strings.Join(args[:min(len(args), 3)], " ")), " "))
}

func (d *data) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

func (d *data) close() { d.lock.Close() }

// choices are what a node chose by itself and keeps to: clients have been set up for them.
type choices struct {
	Name   cloud.NodeName   `json:"name"`
	HTTP   []netip.AddrPort `json:"http"`
	DNS    []netip.AddrPort `json:"dns"`
	Subnet netip.Prefix     `json:"subnet"`
	// Secret is what decides which clients of a sticky route are led where, who must not move with a
	// restart, and signs passes to releases. The file is for root alone.
	Secret []byte       `json:"secret"`
	Domain cloud.Domain `json:"domain"`
}

func (d *data) choices() (c choices, err error) {
	b, err := os.ReadFile(d.path("node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, cloud.Errorf(cloud.Invalid, "cannot read what the node chose last time: %w", err).WithHint("remove %s, and the node chooses anew", d.path("node.json"))
	}
	return c, nil
}

// remember writes the choices so that they are there wholly or not at all.
func (d *data) remember(c choices) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	tmp := d.path("node.json.new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write to the data folder: %w", err)
	}
	return os.Rename(tmp, d.path("node.json"))
}
