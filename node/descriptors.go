package node

import "golang.org/x/sys/unix"

// reserve is how many file descriptors the router leaves to health checks, the API, the store, logs and repairs; where
// there are few, a quarter of them.
const reserve = 2048

// routersDescriptors is how many file descriptors the router may hold, 0 for any number.
func routersDescriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return 0
	}
	return int(limit.Cur - min(limit.Cur/4, reserve))
}
