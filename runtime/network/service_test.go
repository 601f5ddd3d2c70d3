package network

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A service is reached by those of its group that are bound to it. The others of the group are told so at once, and other
// groups hear nothing.
func TestServices(t *testing.T) {
	n := testNetwork(t, "a", "10.60.0.0/24")
	db := attachWith(t, n, "db", 0, Access{Service: "db"})
	bound, stranger, other := attachWith(t, n, "bound", 0, Access{Reaches: []string{"db"}}), attach(t, n, "stranger", 0), attach(t, n, "other", 1)
	elsewhere := attachWith(t, n, "elsewhere", 0, Access{Reaches: []string{"cache"}})
	namesake := attachWith(t, n, "namesake", 1, Access{Reaches: []string{"db"}})
	db.listen(8080)
	dial := func(from place, proto string, limit time.Duration) (result error) {
		inside(t, from.ns, func() error {
			c, err := net.DialTimeout(proto+"4", netip.AddrPortFrom(db.IP, 8080).String(), limit)
			if err != nil {
				result = err
				return nil
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
				return err
			}
			if proto == "udp" {
				if _, err := c.Write([]byte("?")); err != nil {
					return err
				}
			}
			if _, result = c.Read(make([]byte, 100)); errors.Is(result, io.EOF) {
				result = nil
			}
			return nil
		})
		return result
	}
	for name, c := range map[string]struct {
		from   place
		reach  bool
		answer error // nil for none
	}{
		"bound": {bound, true, nil}, "not bound": {stranger, false, unix.ECONNREFUSED}, "bound to another": {elsewhere, false, unix.ECONNREFUSED},
		"of another group": {other, false, nil}, "of another group, bound to a namesake": {namesake, false, nil},
	} {
		for _, proto := range []string{"tcp", "udp"} {
			limit := 10 * time.Second // this machine may do other work
			if !c.reach && c.answer == nil {
				limit = time.Second
			}
			err := dial(c.from, proto, limit)
			switch {
			case c.reach && err != nil, !c.reach && err == nil:
				t.Errorf("%s, %s: %v", name, proto, err)
			case c.answer != nil && !errors.Is(err, c.answer):
				t.Errorf("%s, %s: %v, want %v", name, proto, err, c.answer)
			case !c.reach && c.answer == nil && !errors.Is(err, unix.ETIMEDOUT) && !isTimeout(err):
				t.Errorf("%s, %s: %v, want no answer", name, proto, err)
			}
		}
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
