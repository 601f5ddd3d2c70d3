package broker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Version is the version of the specification, as the header X-Broker-API-Version has it.
const Version = "2.17"

// Platform is the name of this platform in requests.
const Platform = "micro"

const (
	// Timeout is how long a broker may take to answer a request, as the specification suggests.
	Timeout = time.Minute
	// bodyLimit bounds the answers.
	bodyLimit = 4 << 20
	// operationLimit is how long the name of an operation may be, by the specification.
	operationLimit = 10000
)

// NewHTTP returns an HTTP client for brokers. It follows no redirects: they would take the password elsewhere.
func NewHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Client speaks to one broker.
type Client struct {
	Broker  *cloud.Broker
	HTTP    *http.Client
	Timeout time.Duration
}

// Answer is what a broker has answered.
type Answer struct {
	Outcome Outcome
	// Reason says to a person why it is not Done.
	Reason string
	// Operation is the broker's name for what it has Accepted, "" for none.
	Operation string
	// Dashboard is the URL of a page for people, "" for none.
	Dashboard string
	// Unusable says that a failed update or deletion has left an instance that cannot be used.
	Unusable bool
	// Binding is what a bind has made.
	Binding *Binding
	// RetryAfter is how soon the broker wants to be asked again, 0 if it does not say.
	RetryAfter time.Duration
	// status of the answer, 0 for none.
	status int
}

// Binding is what an app gets.
type Binding struct {
	Credentials map[string]json.RawMessage `json:"credentials"`
	SyslogDrain string                     `json:"syslog_drain_url"`
	Metadata    struct {
		ExpiresAt string `json:"expires_at"`
	} `json:"metadata"`
}

// Expires is when the broker ends the binding, zero if it does not say.
func (b Binding) Expires() time.Time {
	at, err := time.Parse(time.RFC3339, b.Metadata.ExpiresAt)
	if err != nil {
		return time.Time{} // it tells nothing that micro understands
	}
	return at.UTC()
}

// Gone reports that the broker knows no such instance or binding.
func (a Answer) Gone() bool { return a.status == http.StatusNotFound || a.status == http.StatusGone }

// body is what the answers of all verbs may have.
type body struct {
	Binding
	Operation      *string   `json:"operation"`
	Dashboard      *string   `json:"dashboard_url"`
	State          string    `json:"state"`
	Error          errorCode `json:"error"`
	Description    string    `json:"description"`
	InstanceUsable *bool     `json:"instance_usable"`
}

// request is one request to a broker.
type request struct {
	method string
	path   string
	query  url.Values
	body   any
	by     string // the person who is the reason, "" for none
}

// reply is an HTTP answer. sent says that the broker may have got the request.
type reply struct {
	status int
	header http.Header
	body   []byte
	sent   bool
}

// exchange sends a request and reads the answer.
func (c *Client) exchange(ctx context.Context, r request) (got reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.sent = true }})
	var content io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return got, err
		}
		content = bytes.NewReader(text)
	}
	address := strings.TrimRight(c.Broker.URL, "/") + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, content)
	if err != nil {
		return got, err
	}
	req.Header.Set("X-Broker-API-Version", Version)
	req.Header.Set("X-Broker-API-Request-Identity", rand.Text())
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.by != "" {
		req.Header.Set("X-Broker-API-Originating-Identity", Platform+" "+identity(r.by))
	}
	if c.Broker.Username != "" || c.Broker.Password != "" {
		req.SetBasicAuth(c.Broker.Username, c.Broker.Password)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		var failed *url.Error // it has the URL, which people know already
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return got, err
	}
	defer resp.Body.Close()
	got.status, got.header = resp.StatusCode, resp.Header
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, bodyLimit+1))
	if err == nil && len(got.body) > bodyLimit {
		err = fmt.Errorf("its answer has more than %d bytes", bodyLimit)
	}
	return got, err
}

func identity(by string) string {
	text, _ := json.Marshal(map[string]string{"user": by}) // it always can be
	return base64.StdEncoding.EncodeToString(text)
}

// Catalog returns what the broker offers.
func (c *Client) Catalog(ctx context.Context) ([]cloud.Offering, error) {
	got, err := c.exchange(ctx, request{method: http.MethodGet, path: "/v2/catalog"})
	switch {
	case err != nil:
		return nil, err
	case got.status == http.StatusUnauthorized || got.status == http.StatusForbidden:
		return nil, fmt.Errorf("it does not accept the user name and password (%s)", statusText(got.status))
	case got.status != http.StatusOK:
		return nil, errors.New(reasonOf(got.status, parse(got.body)))
	}
	return parseCatalog(got.body)
}

// do sends a request and says what its outcome means. need says whether the body of a success has what the verb needs.
func (c *Client) do(ctx context.Context, v Verb, r request, need func(body) bool) Answer {
	got, err := c.exchange(ctx, r)
	switch {
	case err != nil && !got.sent:
		return Answer{Outcome: Unsent, Reason: "the broker cannot be reached: " + err.Error()}
	case err != nil:
		return Answer{Outcome: outcomeOfTimeout(v), Reason: "the broker did not answer: " + err.Error()}
	}
	var b body
	malformed := false
	if got.status >= 200 && got.status < 300 {
		malformed = json.Unmarshal(got.body, &b) != nil || got.status != http.StatusAccepted && !need(b) || b.Operation != nil && len(*b.Operation) > operationLimit
	} else {
		b = parse(got.body)
	}
	a := Answer{Outcome: outcomeOf(v, got.status, malformed, b.Error), status: got.status, RetryAfter: retryAfter(got.header), Dashboard: text(b.Dashboard)}
	switch a.Outcome {
	case Done:
		if v == Bind {
			a.Binding = &b.Binding
		}
	case Accepted:
		a.Operation = text(b.Operation)
	case Unsent, Busy, Taken, Outdated, Rejected, Failed, Orphaned:
		a.Reason = reasonOf(got.status, b)
		if malformed {
			a.Reason = fmt.Sprintf("the broker answered %s, with a body that is not as the specification has it", statusText(got.status))
		}
		a.Unusable = b.InstanceUsable != nil && !*b.InstanceUsable
	}
	return a
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// parse reads the body of a failure as far as it can be read.
func parse(content []byte) (b body) {
	if json.Unmarshal(content, &b) != nil {
		return body{}
	}
	return b
}

// reasonOf says why a request failed, in the broker's words where it has some.
func reasonOf(status int, b body) string {
	said := printable(b.Description, 500)
	if said == "" {
		said = printable(string(b.Error), 100)
	}
	if said == "" {
		return "the broker answered " + statusText(status)
	}
	return fmt.Sprintf("the broker answered %s: %s", statusText(status), said)
}

// printable returns the first limit bytes of what a broker says, without what could steer a terminal.
func printable(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return api.Printable(strings.TrimSpace(text))
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// retryAfter reads the header: seconds, or a time (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	said := h.Get("Retry-After")
	if n, err := strconv.Atoi(said); err == nil && n > 0 {
		return time.Duration(min(n, 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(said); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil && at.After(now) {
			return min(at.Sub(now), 24*time.Hour)
		}
	}
	return 0
}
