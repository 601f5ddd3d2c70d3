package node

import "golang.org/x/sys/unix"

// reserve is how many file descriptors the router leaves for health checks, the API, the store, logs and repairs; a
// quarter of all if the limit is low.
const reserve = 2048

// routerDescriptors returns how many file descriptors the router may use; 0 is unlimited.
func routerDescriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return 0
	}
	return int(limit.Cur - min(limit.Cur/4, reserve))
}
