package cli

import (
	"os"
	"syscall"
)

// notifyResized does nothing: Windows sends no signal when a console's size changes.
func notifyResized(chan<- os.Signal) {}

func ownSession() *syscall.SysProcAttr { return nil }

// ended is for processes of nodes, and a node needs Linux.
func ended(int) bool { return false }
