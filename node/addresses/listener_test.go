package addresses

import (
	"context"
	"net"
	"testing"
)

func TestTakesIPv4(t *testing.T) {
	for network, want := range map[string]bool{"tcp": true, "tcp6": false} {
		ln, err := new(net.ListenConfig).Listen(context.Background(), network, "[::]:0")
		if err != nil {
			t.Fatal(err)
		}
		if got := takesIPv4(ln); got != want {
			t.Errorf("%s: %v, want %v", network, got, want)
		}
		ln.Close()
	}
}
