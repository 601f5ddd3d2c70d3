package dnsd

import "testing"

// TestDefaultAddrs: nobody but this machine is answered unless somebody asks for more.
func TestDefaultAddrs(t *testing.T) {
	for _, a := range DefaultAddrs() {
		if !a.Addr().IsLoopback() {
			t.Errorf("%s is no address of loopback", a)
		}
	}
}
