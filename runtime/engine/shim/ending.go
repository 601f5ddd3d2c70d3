package shim

import "context"

// ending is the context that ends with the shim, and says that it was canceled. The shim's own names
// another reason, and containerd's watch for memory (cgroup v1), which knows this one alone, would write
// errors to the node's log as fast as it can until the process is gone.
type ending struct{ context.Context }

func (e ending) Err() error {
	if e.Context.Err() != nil {
		return context.Canceled
	}
	return nil
}
