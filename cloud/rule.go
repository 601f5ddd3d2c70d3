package cloud

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rule sends the requests that match a condition to a release, whatever the weights of the route are. Such requests
// are counted apart: a cross-fade does not compare them.
type Rule struct {
	When Condition  `json:"when"`
	To   ReleaseRef `json:"to"`
}

// ConditionBy says what a condition looks at.
type ConditionBy string

// What conditions look at.
const (
	WhenHeader  ConditionBy = "header"
	WhenCookie  ConditionBy = "cookie"
	WhenAddress ConditionBy = "address"
	WhenPercent ConditionBy = "percent"
)

// Condition is what a request must have.
type Condition struct {
	By ConditionBy `json:"by"`
	// Name is that of the header, in lower case, or of the cookie.
	Name string `json:"name,omitempty"`
	// Value is the whole value of the header or cookie; "" for any.
	Value string `json:"value,omitempty"`
	// Network has the client's address.
	Network netip.Prefix `json:"network,omitzero"`
	// Percent of the clients match, always the same ones. They are known as the route's sticky clients are, else by
	// their addresses. 1 to 99.
	Percent int `json:"percent,omitempty"`
}

// maxRules bounds the rules of a route: each request may have to be held against all.
const maxRules = 20

const conditionHint = "write 'header X-Beta: 1', 'header X-Beta', 'cookie beta=1', 'cookie beta', 'address 192.0.2.0/24' or 'percent 5'"

// ParseCondition reads "header X-Beta: 1", "header X-Beta", "cookie beta=1", "cookie beta", "address 192.0.2.0/24" or
// "percent 5".
func ParseCondition(s string) (Condition, error) {
	by, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	rest = strings.TrimSpace(rest)
	c := Condition{By: ConditionBy(by)}
	ok := false
	switch c.By {
	case WhenHeader:
		c.Name, c.Value, _ = strings.Cut(rest, ":")
		c.Name, c.Value = strings.ToLower(strings.TrimSpace(c.Name)), strings.TrimSpace(c.Value)
		ok = isToken(c.Name) && isFieldValue(c.Value)
	case WhenCookie:
		c.Name, c.Value, _ = strings.Cut(rest, "=")
		ok = isToken(c.Name) && isFieldValue(c.Value) && !strings.ContainsAny(c.Value, "; ")
	case WhenAddress:
		c.Network, ok = parseNetwork(rest)
	case WhenPercent:
		n, err := strconv.Atoi(strings.TrimSuffix(rest, "%"))
		c.Percent, ok = n, err == nil && n >= 1 && n <= 99
	}
	if !ok {
		return Condition{}, Errorf(Invalid, "condition %q is invalid", s).WithHint(conditionHint)
	}
	return c, nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isFieldValue reports whether s can be the value of a header field (RFC 9110, section 5.5).
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// parseNetwork reads a network or a single address.
func parseNetwork(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}

// String writes a condition as ParseCondition reads it.
func (c Condition) String() string {
	switch c.By {
	case WhenHeader:
		if c.Value == "" {
			return "header " + c.Name
		}
		return "header " + c.Name + ": " + c.Value
	case WhenCookie:
		if c.Value == "" {
			return "cookie " + c.Name
		}
		return "cookie " + c.Name + "=" + c.Value
	case WhenAddress:
		return "address " + c.Network.String()
	case WhenPercent:
		return fmt.Sprintf("percent %d", c.Percent)
	}
	return string(c.By)
}

// SetRule returns the changes that send a route's requests that match a condition to a release. The first rule that
// matches counts; a new one comes last. A rule with the same condition is replaced.
func (s *State) SetRule(h Host, path string, rule Rule) ([]Change, error) {
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	if _, err := s.checkTarget(rule.To); err != nil {
		return nil, err
	}
	if rule.To.Group != vhost.Group {
		return nil, Errorf(Conflict, "%s is not of the group that owns %s", rule.To, h).WithCommand("micro routes")
	}
	next := *route
	next.Rules = slices.Clone(route.Rules)
	switch i := route.rule(rule.When); {
	case i >= 0 && route.Rules[i] == rule:
		return nil, nil
	case i >= 0:
		next.Rules[i] = rule
	case len(next.Rules) == maxRules:
		return nil, Errorf(Conflict, "%s%s already has %d rules", h, strings.TrimSuffix(path, "/"), maxRules).WithCommand("micro routes")
	default:
		next.Rules = append(next.Rules, rule)
	}
	changed := vhost.With(next)
	if err := changed.checkBytes(); err != nil {
		return nil, err
	}
	if err := s.checkOverlap(changed); err != nil {
		return nil, err
	}
	return []Change{Put(changed)}, nil
}

// DropRule returns the changes that end a rule.
func (s *State) DropRule(h Host, path string, when Condition) ([]Change, error) {
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	i := route.rule(when)
	if i < 0 {
		return nil, Errorf(NotFound, "%s%s has no rule %q", h, strings.TrimSuffix(path, "/"), when).WithCommand("micro routes")
	}
	next := *route
	next.Rules = slices.Delete(slices.Clone(route.Rules), i, i+1)
	return []Change{Put(vhost.With(next))}, nil
}

// rule returns the index of the rule with a condition, -1 for none.
func (r *Route) rule(when Condition) int {
	return slices.IndexFunc(r.Rules, func(o Rule) bool { return o.When == when })
}
