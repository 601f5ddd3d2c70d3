package ports

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/node/addresses"
)

// fakeListener is open until it is closed.
type fakeListener struct {
	net.Listener
	close func()
}

func (l fakeListener) Close() error { l.close(); return nil }

// TestPorts: what is wanted is open, what is not is closed, and what could not be opened is tried again.
func TestPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wanted atomic.Pointer[map[uint16]bool]
		want := func(w map[uint16]bool) { wanted.Store(&w) }
		want(nil)
		open := map[string]int{} // guarded by the bubble's turns
		var taken atomic.Bool
		p := New(Config{
			Wanted: func() map[uint16]bool { return *wanted.Load() },
			Open: func(port uint16, public bool) ([]addresses.PortListener, error) {
				if taken.Load() {
					return nil, errors.New("taken by another")
				}
				name := fmt.Sprint(port, public)
				open[name]++
				return []addresses.PortListener{{Listener: fakeListener{close: func() { open[name]-- }}}}, nil
			},
			Serve: func(ctx context.Context, ln addresses.PortListener, _ uint16) error {
				<-ctx.Done()
				return ln.Close()
			},
			Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = p.Run(ctx) }()
		synctest.Wait()
		is := func(want string) {
			t.Helper()
			if got := fmt.Sprint(open); got != want {
				t.Errorf("open are %s, want %s", got, want)
			}
		}
		want(map[uint16]bool{5433: false})
		p.Changed()
		is("map[5433 false:1]")
		want(map[uint16]bool{5433: true})
		p.Changed()
		is("map[5433 false:0 5433 true:1]")
		taken.Store(true)
		if err := p.Check(6379, false); err == nil {
			t.Error("a port that is taken may be mapped")
		}
		want(map[uint16]bool{6379: false})
		p.Changed()
		is("map[5433 false:0 5433 true:0]")
		if err := p.Fault(6379); err == nil || err.Error() != "taken by another" {
			t.Errorf("the fault is %v", err)
		}
		taken.Store(false)
		time.Sleep(retry + time.Second)
		synctest.Wait()
		is("map[5433 false:0 5433 true:0 6379 false:1]")
		if err := p.Fault(6379); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
		is("map[5433 false:0 5433 true:0 6379 false:0]")
	})
}
