package shim

import (
	"context"
	"testing"

	v1 "github.com/containerd/containerd/v2/pkg/oom/v1"
	"github.com/containerd/containerd/v2/pkg/shutdown"
)

// The watch for memory ends with the shim: this test does not end where it goes on.
func TestWatchForMemoryEndsWithTheShim(t *testing.T) {
	ctx, service := shutdown.WithShutdown(t.Context())
	service.Shutdown()
	<-ctx.Done()
	if (ending{t.Context()}).Err() != nil {
		t.Error("an end before the end")
	}
	if err := (ending{ctx}).Err(); err != context.Canceled {
		t.Errorf("ends with %v", err)
	}
	watch, err := v1.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	watch.Run(ending{ctx})
}
