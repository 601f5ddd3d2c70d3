// Package proc reads what the kernel says of processes under /proc: who has a port, and what a process is called.
// What it returns is for people to read; nothing is decided by it but whether the holder of a lock is alive.
package proc
