package containers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Stats reads the container's current resource usage from its cgroup.
func (d *Driver) Stats(_ context.Context, id string) (runtime.Stats, error) {
	in, _, err := d.running(id)
	if err != nil {
		return runtime.Stats{}, err
	}
	s, err := d.cgroupOf(id).stats()
	if err != nil {
		if in.exited() != nil {
			return s, cloud.Errorf(cloud.Unavailable, "container %q no longer runs", id)
		}
		return s, fmt.Errorf("stats of container %s: %w", id, err)
	}
	// The container may end meanwhile.
	if s.Processes, s.Zombies, err = countProcesses(in.pid); err != nil && !errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("processes of container %s: %w", id, err)
	}
	if in.init {
		s.Processes = max(0, s.Processes-1)
	}
	return s, nil
}

// countProcesses counts the processes in the container's own /proc. pid is the host's ID of its first process.
func countProcesses(pid uint32) (running, zombies int64, err error) {
	proc := fmt.Sprintf("/proc/%d/root/proc", pid)
	all, err := os.ReadDir(proc)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range all {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(proc, e.Name(), "stat"))
		if err != nil {
			continue // the process has ended
		}
		// "1 (name) S …"; the name may contain any character (proc(5)).
		switch _, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" ")); {
		case bytes.HasPrefix(after, []byte("Z")), bytes.HasPrefix(after, []byte("X")):
			zombies++
		default:
			running++
		}
	}
	return running, zombies, nil
}

// Listening returns the TCP addresses that processes in the container listen on.
func (d *Driver) Listening(_ context.Context, id string) ([]runtime.Listener, error) {
	in, _, err := d.running(id)
	if err != nil {
		return nil, err
	}
	var all []runtime.Listener
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", in.pid, name))
		if errors.Is(err, os.ErrNotExist) && name == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("what container %s listens on: %w", id, err)
		}
		found, err := listeners(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("what container %s listens on: %w", id, err)
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all), nil
}

// listeners parses /proc/net/tcp or tcp6 (proc(5)). The second field is the local address, the fourth the state; 0A is
// LISTEN.
func listeners(r io.Reader) ([]runtime.Listener, error) {
	var all []runtime.Listener
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 4 || f[3] != "0A" {
			continue
		}
		addr, port, ok := strings.Cut(f[1], ":")
		ip, err := hex.DecodeString(addr)
		if !ok || err != nil || len(ip)%4 != 0 {
			return nil, fmt.Errorf("local address %q", f[1])
		}
		for word := range slices.Chunk(ip, 4) { // each word has the machine's byte order, which is little-endian
			slices.Reverse(word)
		}
		a, ok := netip.AddrFromSlice(ip)
		p, err := strconv.ParseUint(port, 16, 16)
		if !ok || err != nil {
			return nil, fmt.Errorf("local address %q", f[1])
		}
		all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(p)))
	}
	return all, s.Err()
}
