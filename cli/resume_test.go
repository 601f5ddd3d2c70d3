package cli

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
)

// What is followed goes on behind what came last, for as long as the node may be away.
func TestResumed(t *testing.T) {
	gone := cloud.Errorf(cloud.Unavailable, "gone")
	for _, c := range []struct {
		lives string // what each connection brings, then how it ends: ! lost, . well, ? with a fault
		want  string
	}{
		{"ab.", "ab"},
		{"ab! c.", "abc"},
		{"ab! ! ! c! d.", "abcd"},
		{"!", "gone"},
		{"a?", "a fault"},
		{"a! ?", "a fault"},
		{"a" + strings.Repeat("! ", 100), "a gone"},
		{"-! -.", "- gone"},
	} {
		synctest.Test(t, func(t *testing.T) {
			lives := strings.Fields(c.lives)
			last, got := "", ""
			for v, err := range resumed(t.Context(), false, func(after string) iter.Seq2[string, error] {
				if after != last {
					t.Errorf("%s: goes on behind %q, want %q", c.lives, after, last)
				}
				life := lives[0]
				lives = lives[1:]
				return func(yield func(string, error) bool) {
					for _, r := range life {
						ok := true
						switch r {
						case '!':
							ok = yield("", gone)
						case '?':
							ok = yield("", errors.New("fault"))
						case '.':
						default:
							ok = yield(string(r), nil)
						}
						if !ok {
							return
						}
					}
				}
			}, func(s string) string { return strings.Trim(s, "-") }) {
				if err != nil {
					got += fmt.Sprintf(" %v", err)
					continue
				}
				last, got = strings.Trim(v, "-"), got+v
			}
			if strings.TrimSpace(got) != c.want {
				t.Errorf("%s: %q, want %q", c.lives, got, c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for range resumed(t.Context(), false, func(string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				if time.Since(began) == 0 {
					time.Sleep(time.Hour) // nothing came, but it was there
				}
				yield("", gone)
			}
		}, func(s string) string { return s }) {
		}
		if away := time.Since(began) - time.Hour; away < reconnectFor || away > 2*reconnectFor {
			t.Errorf("it was looked for %s", away)
		}
	})
}
