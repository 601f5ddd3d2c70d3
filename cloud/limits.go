package cloud

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits bound how long requests and connections may take, and how large they may be. A zero field is not set:
// a route has the cloud's limit then, and the cloud that of DefaultLimits. NoLimit sets that there is none.
type Limits struct {
	AnswerTimeout     Duration `json:"answer_timeout,omitempty"`
	StreamTimeout     Duration `json:"stream_timeout,omitempty"`
	TunnelTimeout     Duration `json:"tunnel_timeout,omitempty"`
	IdleTimeout       Duration `json:"idle_timeout,omitempty"`
	BodyTimeout       Duration `json:"body_timeout,omitempty"`
	HalfClosedTimeout Duration `json:"half_closed_timeout,omitempty"`
	MaxBody           int64    `json:"max_body,omitempty"` // bytes
	Hold              Duration `json:"hold,omitempty"`

	// What follows is of connections, on which the route is not known yet.
	HandshakeTimeout         Duration `json:"handshake_timeout,omitempty"`
	HeaderTimeout            Duration `json:"header_timeout,omitempty"`
	KeepaliveTimeout         Duration `json:"keepalive_timeout,omitempty"`
	UpstreamKeepaliveTimeout Duration `json:"upstream_keepalive_timeout,omitempty"`
}

// NoLimit is the value of a limit that is switched off.
const NoLimit = -1

// DefaultLimits are in force where neither the route nor the cloud sets a limit.
var DefaultLimits = Limits{
	AnswerTimeout:            Duration(60 * time.Second),
	StreamTimeout:            Duration(15 * time.Minute),
	TunnelTimeout:            Duration(time.Hour),
	IdleTimeout:              Duration(75 * time.Second),
	BodyTimeout:              Duration(5 * time.Minute),
	HalfClosedTimeout:        NoLimit,
	MaxBody:                  NoLimit,
	Hold:                     NoLimit,
	HandshakeTimeout:         Duration(10 * time.Second),
	HeaderTimeout:            Duration(10 * time.Second),
	KeepaliveTimeout:         Duration(75 * time.Second),
	UpstreamKeepaliveTimeout: Duration(60 * time.Second),
}

// LimitKind describes one of the limits.
type LimitKind struct {
	Name  string
	About string // what it limits, for help texts
	// Connection marks a limit of connections: it can be set for the cloud alone.
	Connection bool

	size     bool          // bytes; else it is a time
	optional bool          // it may be switched off
	most     time.Duration // 0 is mostTimeout
	field    func(*Limits) *int64
}

// LimitKinds are all limits, in the order in which they are shown.
var LimitKinds = []LimitKind{
	{Name: "answer-timeout", About: "from the end of a request to the answer's head",
		field: func(l *Limits) *int64 { return (*int64)(&l.AnswerTimeout) }},
	{Name: "stream-timeout", About: "between two pieces of an answer",
		field: func(l *Limits) *int64 { return (*int64)(&l.StreamTimeout) }},
	{Name: "tunnel-timeout", About: "a WebSocket on which nothing moves",
		field: func(l *Limits) *int64 { return (*int64)(&l.TunnelTimeout) }},
	{Name: "idle-timeout", About: "a request's body or an answer that stalls",
		field: func(l *Limits) *int64 { return (*int64)(&l.IdleTimeout) }},
	{Name: "body-timeout", About: "a body that comes at less than 100 bytes a second",
		field: func(l *Limits) *int64 { return (*int64)(&l.BodyTimeout) }},
	{Name: "half-closed-timeout", About: "the answer to a client that has stopped sending",
		optional: true, field: func(l *Limits) *int64 { return (*int64)(&l.HalfClosedTimeout) }},
	{Name: "max-body", About: "size of a request's body",
		size: true, optional: true, field: func(l *Limits) *int64 { return &l.MaxBody }},
	{Name: "hold", About: "a request that waits while no instance is ready",
		optional: true, most: 5 * time.Minute, field: func(l *Limits) *int64 { return (*int64)(&l.Hold) }},
	{Name: "handshake-timeout", About: "a connection's start, TLS included", Connection: true,
		field: func(l *Limits) *int64 { return (*int64)(&l.HandshakeTimeout) }},
	{Name: "header-timeout", About: "a request's head in all", Connection: true,
		field: func(l *Limits) *int64 { return (*int64)(&l.HeaderTimeout) }},
	{Name: "keepalive-timeout", About: "a client's connection between requests", Connection: true,
		field: func(l *Limits) *int64 { return (*int64)(&l.KeepaliveTimeout) }},
	{Name: "upstream-keepalive-timeout", About: "a connection to an app between requests", Connection: true,
		field: func(l *Limits) *int64 { return (*int64)(&l.UpstreamKeepaliveTimeout) }},
}

const (
	leastTimeout = 10 * time.Millisecond
	mostTimeout  = 7 * 24 * time.Hour
	mostBody     = 1 << 50
)

// Set sets the limit in l from text: "5m", "2G", "none", or "default" for not set.
func (k LimitKind) Set(l *Limits, text string) error {
	to := k.field(l)
	switch text = strings.TrimSpace(text); {
	case text == "default":
		*to = 0
		return nil
	case text == "none" && k.optional:
		*to = NoLimit
		return nil
	case text == "none":
		return Errorf(Invalid, "%s cannot be switched off", k.Name).WithHint("give a time, at most 168h")
	case k.size:
		n, err := ParseSize(text)
		if err != nil {
			return Errorf(Invalid, "%s: %w", k.Name, err).WithHintOf(err)
		}
		if n < 1 || n > mostBody {
			return Errorf(Invalid, "%s %q is not between 1B and %s", k.Name, text, FormatSize(mostBody)).WithHint("for example %s=2G, or none for any size", k.Name)
		}
		*to = n
		return nil
	}
	most := cmp.Or(k.most, mostTimeout)
	d, err := time.ParseDuration(text)
	if err != nil || d < leastTimeout || d > most {
		return Errorf(Invalid, "%s %q is not a time between %v and %s", k.Name, text, leastTimeout, timeText(most)).WithHint("for example 10s, 90s or 2m")
	}
	*to = int64(d)
	return nil
}

// Text is the limit's value in l as Set reads it, "default" where it is not set.
func (k LimitKind) Text(l Limits) string {
	switch v := *k.field(&l); {
	case v == 0:
		return "default"
	case v < 0:
		return "none"
	case k.size:
		return exactSize(v)
	default:
		return timeText(time.Duration(v))
	}
}

// timeText writes a time without the zeros at its end: "5m", "1h30m".
func timeText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// exactSize is FormatSize, but in bytes where that would round.
func exactSize(n int64) string {
	text := FormatSize(n)
	if back, err := ParseSize(text); err != nil || back != n {
		return strconv.FormatInt(n, 10) + "B"
	}
	return text
}

// Or returns l with what it does not set taken from other.
func (l Limits) Or(other Limits) Limits {
	for _, k := range LimitKinds {
		if to := k.field(&l); *to == 0 {
			*to = *k.field(&other)
		}
	}
	return l
}

// Texts are the limits that l sets, by name.
func (l Limits) Texts() map[string]string {
	var texts map[string]string
	for _, k := range LimitKinds {
		if *k.field(&l) != 0 {
			if texts == nil {
				texts = map[string]string{}
			}
			texts[k.Name] = k.Text(l)
		}
	}
	return texts
}

// WithTexts returns l with limits set by name, of a route or of the cloud as a whole. It reports all errors.
func (l Limits) WithTexts(texts map[string]string, route bool) (Limits, error) {
	var errs []error
	for _, name := range sortedKeys(texts) {
		i := slices.IndexFunc(LimitKinds, func(k LimitKind) bool { return k.Name == name })
		switch {
		case i < 0:
			errs = append(errs, Errorf(Invalid, "unknown limit %q", name).WithHint("the limits are %s", strings.Join(limitNames(route), ", ")))
		case route && LimitKinds[i].Connection:
			errs = append(errs, Errorf(Invalid, "%s is a limit of connections, and cannot be set for a route", name).WithCommand("micro limits %s=%s", name, texts[name]))
		default:
			errs = append(errs, LimitKinds[i].Set(&l, texts[name]))
		}
	}
	return l, Join(errs...)
}

// checkRoute reports values that Set would not have made, or that are not a route's.
func (l Limits) checkRoute() error {
	back, err := Limits{}.WithTexts(l.Texts(), true)
	if err == nil && back != l {
		return Errorf(Invalid, "a limit is negative")
	}
	return err
}

func limitNames(route bool) (names []string) {
	for _, k := range LimitKinds {
		if !route || !k.Connection {
			names = append(names, k.Name)
		}
	}
	return names
}

// SetLimits returns the changes that set limits by name, for all routes that don't set their own.
func (s *State) SetLimits(texts map[string]string) ([]Change, error) {
	next := s.Settings()
	was := next.Limits
	limits, err := was.WithTexts(texts, false)
	if err != nil || limits == was {
		return nil, err
	}
	next.Limits = limits
	return []Change{Put(&next)}, nil
}

// SetRouteLimits returns the changes that set limits of one route by name.
func (s *State) SetRouteLimits(h Host, path string, texts map[string]string) ([]Change, error) {
	vhost, err := s.mustVirtualHost(h)
	if err != nil {
		return nil, err
	}
	route, ok := vhost.Route(path)
	if !ok {
		return nil, Errorf(NotFound, "host %s has no route %s", h, path).WithCommand("micro routes")
	}
	next := *route
	if next.Limits, err = route.Limits.WithTexts(texts, true); err != nil || next.Limits == route.Limits {
		return nil, err
	}
	return []Change{Put(vhost.With(next))}, nil
}
