package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

// probe runs a check of an instance once, in the protocol of its port. A nil error means that the instance passed.
func probe(ctx context.Context, p cloud.Protocol, c cloud.Check, addr netip.AddrPort) error {
	if c.Timeout <= 0 {
		c.Timeout = cloud.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout))
	defer cancel()
	switch c.Type {
	case cloud.CheckPort, cloud.CheckCommand:
		return probePort(ctx, addr)
	case cloud.CheckHTTP:
		return probeHTTP(ctx, p, addr, c)
	case cloud.CheckGRPC:
		return probeGRPC(ctx, addr, c)
	case cloud.CheckProcess:
	}
	return nil
}

// unanswered is the error of a check without an answer. Its text leaves out the system's error, which does not help
// users.
type unanswered struct {
	text string
	err  error
}

func (u *unanswered) Error() string { return u.text }
func (u *unanswered) Unwrap() error { return u.err }

// refused reports whether nothing listens at the address.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func probePort(ctx context.Context, addr netip.AddrPort) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return &unanswered{fmt.Sprintf("does not answer on port %d", addr.Port()), err}
	}
	return conn.Close()
}

func probeHTTP(ctx context.Context, p cloud.Protocol, addr netip.AddrPort, c cloud.Check) error {
	path := c.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "micro-health-check")
	client, closeIdle := probeClient(p)
	defer closeIdle()
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("GET %s on port %d had no answer within %s", path, addr.Port(), time.Duration(c.Timeout))
		}
		if refused(err) {
			return &unanswered{fmt.Sprintf("does not answer on port %d", addr.Port()), err}
		}
		if asked, ok := errors.AsType[*url.Error](err); ok {
			err = asked.Err
		}
		return fmt.Errorf("GET %s on port %d failed: %w", path, addr.Port(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	answered := fmt.Sprintf("GET %s on port %d answered %d", path, addr.Port(), resp.StatusCode)
	if to := resp.Header.Get("Location"); to != "" {
		return fmt.Errorf("%s, a redirect to %.200q: it must answer 200, because checks don't follow redirects", answered, to)
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	if said = bytes.TrimSpace(said); len(said) > 0 {
		answered += fmt.Sprintf(": %q", said)
	}
	return errors.New(answered)
}

// probeClient returns a client for one check, and what closes its connection. A pool of connections would grow in a
// process that lives for months. It does not follow redirects, which may lead to another server.
func probeClient(p cloud.Protocol) (*http.Client, func()) {
	t := &http.Transport{DisableKeepAlives: true}
	if p == cloud.ProtocolHTTP2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, t.CloseIdleConnections
}

// describeListeners says on which addresses an instance listens that does not answer on its port.
func describeListeners(port uint16, listening []Listener) string {
	var others []string
	for _, l := range listening {
		if l.Port() == port {
			return fmt.Sprintf("listens on %s only: it must listen on 0.0.0.0:%d", l, port)
		}
		if l.Port() != port {
			others = append(others, l.String())
		}
	}
	slices.Sort(others)
	if others = slices.Compact(others); len(others) == 0 {
		return fmt.Sprintf("listens on no port: it must listen on 0.0.0.0:%d", port)
	}
	return fmt.Sprintf("listens on %s instead: it must listen on 0.0.0.0:$PORT, and PORT is %d (set another with EXPOSE, or x-micro: port)", strings.Join(others, ", "), port)
}
