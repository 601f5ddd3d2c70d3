package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Client speaks to a cloud. Its methods may be called at the same time; their errors are *cloud.Error,
// as the server had them, or of code Unavailable where there is no answer.
type Client struct {
	base   string
	target string
	http   *http.Client
	token  string                                  // shown with each request, "" for none
	dial   func(context.Context) (net.Conn, error) // to a node's socket; nil over the network
}

const (
	dialTimeout = 10 * time.Second
	// headTimeout is how long an answer may take to begin.
	headTimeout = 5 * time.Minute
)

// maxSocket is the longest path that a unix socket can have, in bytes (unix(7)).
const maxSocket = 107

// New returns a client of the cloud at target: "unix:///var/lib/micro/micro.sock", "ssh://user@host" (with
// the port and the path of the socket where they are not the usual ones), "http://host:port" or
// "https://host". ssh is the command that reaches other machines, for none DefaultSSH. Nothing is sent yet.
func New(target string, ssh ...string) (*Client, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "target %q is not a URL", target).WithHint("for example unix:///var/lib/micro/micro.sock")
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{ResponseHeaderTimeout: headTimeout, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, DialContext: dialer.DialContext}
	c := &Client{target: target, http: &http.Client{Transport: t}}
	switch u.Scheme {
	case "unix":
		path := u.Host + u.Path
		if path == "" {
			return nil, cloud.Errorf(cloud.Invalid, "target %q has no path", target).WithHint("for example unix:///var/lib/micro/micro.sock")
		}
		if len(path) > maxSocket {
			return nil, cloud.Errorf(cloud.Invalid, "target %q: a socket's path may have %d bytes, and this one has %d", target, maxSocket, len(path))
		}
		c.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	case "ssh":
		there, err := newSSHTarget(u, ssh)
		if err != nil {
			return nil, err
		}
		c.dial = there.dial
	case "http", "https":
		if u.Host == "" {
			return nil, cloud.Errorf(cloud.Invalid, "target %q has no host", target)
		}
		// Exec needs HTTP/1.1, which is what a transport with its own dialer speaks.
		t.Proxy = http.ProxyFromEnvironment
		c.base = u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
	default:
		return nil, cloud.Errorf(cloud.Invalid, "unknown kind of target: %q", target).WithHint("targets begin with unix://, ssh://, http:// or https://")
	}
	if c.dial != nil {
		c.base = "http://micro"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	}
	return c, nil
}

// Over returns a client whose requests all go by another HTTP client; target names what answers there.
func Over(h *http.Client, target string) *Client {
	return &Client{base: "http://micro", target: target, http: h}
}

// Connect returns a connection to the node's socket, for another client to speak over.
func (c *Client) Connect(ctx context.Context) (net.Conn, error) {
	if c.dial == nil {
		return nil, cloud.Errorf(cloud.Invalid, "target %s is not a socket", c.target).WithHint("for example unix:///var/lib/micro/micro.sock")
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return conn, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request makes a request; body is an io.Reader that is sent as it is, or a value that is sent in JSON.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	var r io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r, contentType = b, "application/octet-stream"
	default:
		if err := checkUTF8(b); err != nil {
			return nil, err
		}
		data, err := json.Marshal(b)
		if err != nil {
			return nil, cloud.Errorf(cloud.Internal, "cannot encode the request: %w", err)
		}
		r, contentType = bytes.NewReader(data), "application/json"
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot ask %s: %w", c.target, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// do sends a request and returns an answer that is good; the caller closes its body.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(req.Context(), err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, ReadProblem(resp)
	}
	return resp, nil
}

// unreachable explains a request that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Net == "unix" {
		err = dial.Err // the path is in the target
	}
	known, ok := errors.AsType[*cloud.Error](err)
	switch {
	case ok:
		return cloud.Errorf(known.Code, "cannot reach %s: %s", c.target, known.Error()).WithHintOf(known)
	case errors.Is(err, context.Canceled):
		return cloud.Errorf(cloud.Interrupted, "interrupted: %w", err)
	case ctx.Err() != nil:
		return cloud.Errorf(cloud.Unavailable, "no answer from %s in time: %w", c.target, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EACCES):
		return cloud.Errorf(cloud.Denied, "not allowed to open %s: %w", c.target, err).WithHint("use sudo, or join the group micro: sudo usermod -aG micro $USER")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return cloud.Errorf(cloud.Unavailable, "no node answers at %s: %w", c.target, err).WithHint("sudo micro up, or set MICRO_TARGET")
	}
	return cloud.Errorf(cloud.Unavailable, "cannot reach %s: %w", c.target, err)
}

// ConnectionLost reports that the connection broke after a request had been sent and before its answer came: whether
// it was carried out is unknown.
func ConnectionLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// call sends body (nil for none) and reads the answer.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var v T
	req, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return v, err
	}
	resp, err := c.do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return v, cloud.Errorf(cloud.Unavailable, "the answer of %s broke off: %w", c.target, err)
	}
	return v, nil
}

// all reads every page of a list.
func all[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	items := []T{}
	if query == nil {
		query = url.Values{}
	}
	for {
		page, err := call[List[T]](ctx, c, http.MethodGet, path, query, nil)
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == "" || page.Next == query.Get("after") {
			return items, nil
		}
		query.Set("after", page.Next)
	}
}

// stream yields the events of a stream. The error that ends it, if any, is yielded last.
func stream[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		req, err := c.request(ctx, method, path, query, body)
		if err != nil {
			yield(none, err)
			return
		}
		req.Header.Set("Accept", EventStream)
		resp, err := c.do(req)
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		for v, err := range ReadEvents[T](resp.Body) {
			if err != nil && ctx.Err() != nil {
				err = c.unreachable(ctx, ctx.Err())
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// values leaves out what is empty.
type values url.Values

func (v values) set(k, s string) values {
	if s != "" {
		v[k] = []string{s}
	}
	return v
}

func (v values) num(k string, n int) values {
	if n != 0 {
		v[k] = []string{strconv.Itoa(n)}
	}
	return v
}

func (v values) flag(k string, b bool) values {
	if b {
		v[k] = []string{"true"}
	}
	return v
}

func (v values) time(k string, t time.Time) values {
	if !t.IsZero() {
		v[k] = []string{t.UTC().Format(time.RFC3339Nano)}
	}
	return v
}

func groupPath(g cloud.GroupName, rest string) string {
	if g == "" {
		g = cloud.DefaultGroup
	}
	return "/v1/groups/" + url.PathEscape(string(g)) + "/" + rest
}

func appPath(r cloud.AppRef, rest string) string {
	return strings.TrimSuffix(groupPath(r.Group, "apps/"+url.PathEscape(string(r.App))+"/"+rest), "/")
}

func releasePath(r cloud.ReleaseRef, rest string) string {
	return strings.TrimSuffix(appPath(r.AppRef, fmt.Sprintf("releases/%d/%s", r.N, rest)), "/")
}
