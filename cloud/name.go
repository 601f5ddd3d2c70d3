package cloud

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Names are DNS labels, each of its own type so that a swapped argument does not compile.
type (
	GroupName   string
	AppName     string
	ProcessName string
	NodeName    string
	// Host is a host name in lower case without port and trailing dot; "*.example.com" for a wildcard.
	Host string
	// InstanceID names one container for ever: never used twice.
	InstanceID string
)

const (
	// DefaultGroup exists from the start.
	DefaultGroup GroupName = "default"
	// Web is the process that routes go to.
	Web ProcessName = "web"
	// ReleaseCommand is the process that runs once, before a release takes over.
	ReleaseCommand ProcessName = "release"
)

// maxName leaves room in a label of 63 bytes for "-YYYYMMDD-rN" and for an instance's suffix.
const maxName = 40

var (
	label         = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	releaseSuffix = regexp.MustCompile(`-[0-9]{8}-r[0-9]+$`)
)

// reserved are names that the private domain needs itself.
var reserved = map[string]bool{"api": true, "registry": true}

func checkLabel(what, name string) error {
	switch {
	case name == "":
		return Errorf(Invalid, "%s name is empty", what)
	case len(name) > maxName:
		return Errorf(Invalid, "%s name %q has %d characters, at most %d are allowed", what, name, len(name), maxName)
	case !label.MatchString(name):
		return Errorf(Invalid, "invalid %s name %q", what, name).
			WithHint("use a-z, 0-9 and -, not at either end; for example %q", suggestLabel(name))
	}
	return nil
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

func suggestLabel(name string) string {
	s := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if s == "" {
		return "my-app"
	}
	return strings.Trim(s[:min(len(s), maxName)], "-")
}

// Validate reports what keeps the name from being an app's.
func (n AppName) Validate() error {
	if err := checkLabel("app", string(n)); err != nil {
		return err
	}
	if releaseSuffix.MatchString(string(n)) {
		return Errorf(Invalid, "app name %q ends like the address of a release", n).WithHint("leave out %q", releaseSuffix.FindString(string(n)))
	}
	if reserved[string(n)] {
		return Errorf(Invalid, "app name %q is reserved", n).WithHint("choose another name, for example %q", n+"-app")
	}
	return nil
}

// Validate reports what keeps the name from being a group's.
func (n GroupName) Validate() error {
	if err := checkLabel("group", string(n)); err != nil {
		return err
	}
	if reserved[string(n)] {
		return Errorf(Invalid, "group name %q is reserved", n)
	}
	return nil
}

// Validate reports what keeps the name from being a process's.
func (n ProcessName) Validate() error { return checkLabel("process", string(n)) }

// ParseHost reads a host as a person writes it: upper case, letters beyond a-z and a trailing dot are allowed, a port
// is not.
func ParseHost(s string) (Host, error) {
	h, err := toASCII(strings.TrimSpace(s))
	if err != nil {
		return "", err
	}
	h = strings.TrimSuffix(strings.ToLower(h), ".")
	if h == "" || len(h) > 253 {
		return "", Errorf(Invalid, "host %q is empty or longer than 253 characters", s)
	}
	labels := strings.Split(h, ".")
	for i, l := range labels {
		if i == 0 && l == "*" && len(labels) > 2 {
			continue
		}
		if len(l) > 63 || !label.MatchString(strings.TrimPrefix(l, "_")) {
			return "", Errorf(Invalid, "invalid host %q: label %q", s, l).WithHint("write it without scheme and port, for example www.example.com")
		}
	}
	return Host(h), nil
}

// AppRef names an app in its group.
type AppRef struct {
	Group GroupName `json:"group"`
	App   AppName   `json:"app"`
}

// String is "shop", and "qa/shop" outside the default group.
func (r AppRef) String() string {
	if r.Group == DefaultGroup || r.Group == "" {
		return string(r.App)
	}
	return string(r.Group) + "/" + string(r.App)
}

// Release names release n of the app.
func (r AppRef) Release(n int) ReleaseRef { return ReleaseRef{r, n} }

// ReleaseRef names a release. N counts from 1; 0 is whatever release is current.
type ReleaseRef struct {
	AppRef
	N int `json:"n"`
}

// String is "shop@r7", or "shop" for whatever is current.
func (r ReleaseRef) String() string {
	if r.N == 0 {
		return r.AppRef.String()
	}
	return fmt.Sprintf("%s@r%d", r.AppRef, r.N)
}

// ParseRelease reads "r7" or "7".
func ParseRelease(s string) (int, error) {
	digits := strings.TrimPrefix(s, "r")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || strconv.Itoa(n) != digits {
		return 0, Errorf(Invalid, "%q is not a release", s).WithHint("releases are written r1, r2, …")
	}
	return n, nil
}

// ParseRef reads "shop", "shop@r7", "qa/shop" or "qa/shop@r7"; group is the one of names without one.
func ParseRef(s string, group GroupName) (ReleaseRef, error) {
	ref := ReleaseRef{AppRef: AppRef{Group: group}}
	rest := s
	if g, app, ok := strings.Cut(rest, "/"); ok {
		ref.Group, rest = GroupName(g), app
		if err := ref.Group.Validate(); err != nil {
			return ref, err
		}
	}
	app, n, pinned := strings.Cut(rest, "@")
	ref.App = AppName(app)
	if err := ref.App.Validate(); err != nil {
		return ref, err
	}
	if pinned {
		var err error
		if ref.N, err = ParseRelease(n); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

// Domain is the private domain, two labels or more: "micro.test".
type Domain string

// Validate reports what keeps the name from being a private domain.
func (d Domain) Validate() error {
	h, err := ParseHost(string(d))
	if err != nil {
		return err
	}
	if string(h) != string(d) || strings.Count(string(d), ".") < 1 || strings.HasPrefix(string(d), "*") {
		return Errorf(Invalid, "domain %q is not a lower-case name of two labels or more", d).WithHint("for example micro.test")
	}
	return nil
}

// App is the app's own address, which follows its current release.
func (d Domain) App(r AppRef) Host {
	if r.Group == DefaultGroup {
		return Host(string(r.App) + "." + string(d))
	}
	return Host(string(r.App) + "." + string(r.Group) + "." + string(d))
}

// Release is the release's own address, which names its app, its date (UTC) and its number.
func (d Domain) Release(r ReleaseRef, created time.Time) Host {
	pinned := r.AppRef
	pinned.App = AppName(fmt.Sprintf("%s-%s-r%d", r.App, created.UTC().Format("20060102"), r.N))
	return d.App(pinned)
}

// Parse returns what a host of the domain can be the address of by its name: an app (N 0), and a release
// if it ends like a release's. Whether they exist, and whether the release has that date, is not looked at.
func (d Domain) Parse(h Host) (refs []ReleaseRef) {
	name, ok := strings.CutSuffix(string(h), "."+string(d))
	if !ok || d == "" {
		return nil
	}
	label, group, ok := strings.Cut(name, ".")
	if !ok {
		group = string(DefaultGroup)
	}
	app := AppRef{GroupName(group), AppName(label)}
	if d.App(app) != h {
		return nil // the default group is not named, and a name has no dots
	}
	refs = append(refs, app.Release(0))
	suffix := releaseSuffix.FindString(label)
	if suffix == "" {
		return refs
	}
	n, err := ParseRelease(suffix[strings.LastIndexByte(suffix, '-')+1:])
	if err != nil {
		return refs
	}
	app.App = AppName(strings.TrimSuffix(label, suffix))
	return append(refs, app.Release(n))
}

// API is the address of the API and the console.
func (d Domain) API() Host { return Host("api." + string(d)) }

// Contains says whether the host lies in the domain.
func (d Domain) Contains(h Host) bool {
	return string(h) == string(d) || strings.HasSuffix(string(h), "."+string(d))
}
