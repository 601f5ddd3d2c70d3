package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a killed shim may take to be gone.
const patience = 5 * time.Second

// killOrphans ends shims that a killed micro was starting or had just started: those that no bundle
// leads to. containerd knows nothing of them, but the next container of the same release would join
// them. Sockets that nobody listens on go too; shims leave theirs behind.
func killOrphans(cfg Config) error {
	wanted, err := shimSockets(cfg)
	if err != nil {
		return fmt.Errorf("orphaned shims: %w", err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { //nolint:forbidigo // they are not our children: nothing tells of their end
		listening, err := unixSockets()
		if err != nil {
			return fmt.Errorf("orphaned shims: %w", err)
		}
		// Again until there is none: what one of them was about to start comes to light when it is gone.
		left := 0
		for pid, args := range processes() {
			if !belongs(args, cfg) || serves(pid, listening, wanted) {
				continue
			}
			left++
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("orphaned shim %d: %w", pid, err)
			}
		}
		if left == 0 {
			return removeSockets(cfg, listening)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d orphaned shims do not end", left)
		}
	}
}

// orphanEvery is how often shims are looked for that no bundle leads to. One that is seen twice is no
// shim that is just being started.
const orphanEvery = 10 * time.Second

// endOrphans ends, until ctx ends, the shims that no bundle leads to although micro lives: now and then
// one outlives its last container, whose caller went away while both were ended. Mounts that shims left go too.
func (s *Shims) endOrphans(ctx context.Context) {
	tick := time.NewTicker(orphanEvery)
	defer tick.Stop()
	before, mounts := map[int]bool{}, map[string]bool{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		seen, err := orphans(s.cfg)
		if err != nil {
			s.log.Warn("orphaned shims can't be looked for", "err", err)
			continue
		}
		for pid := range seen {
			if before[pid] && pid != s.Spare() {
				s.log.Info("a shim that no container leads to is ended", "pid", pid)
				_ = unix.Kill(pid, unix.SIGKILL) // it may just have ended by itself
			}
		}
		before = seen
		if mounts, err = sweepTemporary(s.cfg.State, mounts); err != nil {
			s.log.Warn("mounts of shims can't be taken away", "err", err)
		}
	}
}

// orphans are the shims of this node that no bundle leads to at this moment.
func orphans(cfg Config) (map[int]bool, error) {
	wanted, err := shimSockets(cfg)
	if err != nil {
		return nil, err
	}
	listening, err := unixSockets()
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for pid, args := range processes() {
		if belongs(args, cfg) && !serves(pid, listening, wanted) {
			found[pid] = true
		}
	}
	return found, nil
}

// shimSockets are the paths of sockets that bundles lead to.
func shimSockets(cfg Config) (map[string]bool, error) {
	bundles, err := filepath.Glob(cfg.Bundle("*"))
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, b := range bundles {
		socket, err := shimSocket(b)
		if ignoreMissing(err) != nil {
			return nil, err
		}
		all[socket] = true
	}
	return all, nil
}

// shimSocket is the path of the socket that a bundle leads to; "" where it was not written down to its end.
func shimSocket(bundle string) (string, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "bootstrap.json"))
	if err != nil {
		return "", err
	}
	var b struct {
		Address string `json:"address"`
	}
	if json.Unmarshal(text, &b) != nil {
		return "", nil
	}
	return strings.TrimPrefix(b.Address, "unix://"), nil
}

// unixSockets are the paths of all unix sockets by their inode (proc(5), /proc/net/unix).
func unixSockets() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 8 {
			all[f[6]] = f[7]
		}
	}
	return all, nil
}

// processes are the arguments of all there are.
func processes() map[int][]string {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	all := make(map[int][]string, len(dirs))
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if text, err := os.ReadFile(dir + "/cmdline"); err == nil && len(text) > 0 {
			for arg := range bytes.SplitSeq(text, []byte{0}) {
				all[pid] = append(all[pid], string(arg))
			}
		}
	}
	return all
}

// belongs says whether a process is a shim of the node with this state.
func belongs(args []string, cfg Config) bool {
	for i, a := range args[1:] {
		if a == filepath.Join(cfg.State, "c") && args[i] == "-address" {
			return true
		}
	}
	return false
}

// serves says whether a process has one of the wanted sockets open.
func serves(pid int, listening map[string]string, wanted map[string]bool) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		inode, ok := strings.CutPrefix(strings.TrimSuffix(target, "]"), "socket:[")
		if err == nil && ok && wanted[listening[inode]] {
			return true
		}
	}
	return false
}

func removeSockets(cfg Config, listening map[string]string) error {
	alive := map[string]bool{}
	for _, path := range listening {
		alive[path] = true
	}
	all, err := os.ReadDir(filepath.Join(cfg.State, "s"))
	if err := ignoreMissing(err); err != nil {
		return fmt.Errorf("sockets of shims: %w", err)
	}
	for _, s := range all {
		if path := filepath.Join(cfg.State, "s", s.Name()); !alive[path] {
			if err := ignoreMissing(os.Remove(path)); err != nil {
				return fmt.Errorf("sockets of shims: %w", err)
			}
		}
	}
	return nil
}
