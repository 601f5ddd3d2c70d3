package cloud

import (
	"testing"
	"time"
)

// TestAuthority: the first authority of a domain stays, until the domain changes or it is about to expire.
func TestAuthority(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := NewState().Apply(1, []Change{Put(&Settings{Domain: "micro.test"})})
	first := Authority{Domain: "micro.test", Certificate: []byte("first"), Expires: now.AddDate(10, 0, 0)}
	second := first
	second.Certificate = []byte("second")
	s = s.Apply(2, s.Authorize(first, now))
	s = s.Apply(3, s.Authorize(second, now))
	for _, c := range []struct {
		what   string
		domain Domain
		now    time.Time
		want   bool
	}{
		{"now", "micro.test", now, true},
		{"another domain", "cloud.test", now, false},
		{"long before its end", "micro.test", now.AddDate(9, 10, 0), true},
		{"shortly before its end", "micro.test", now.AddDate(9, 11, 20), false},
	} {
		s := s.Apply(4, []Change{Put(&Settings{Domain: c.domain})})
		a, ok := s.Authority(c.now)
		if ok != c.want || string(a.Certificate) != "first" {
			t.Errorf("%s: got %s, %v", c.what, a.Certificate, ok)
		}
		if renewed := s.Authorize(second, c.now); (len(renewed) == 0) != c.want {
			t.Errorf("%s: a new one makes %d changes", c.what, len(renewed))
		}
	}
}
