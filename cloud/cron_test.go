package cloud

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	const layout = "Mon 2006-01-02 15:04"
	for _, c := range []struct{ schedule, after, want string }{
		{"* * * * *", "Sun 2026-11-22 21:15", "Sun 2026-11-22 21:16"},
		{"@hourly", "Sun 2026-11-22 21:00", "Sun 2026-11-22 22:00"},
		{"@daily", "Sun 2026-11-22 21:15", "Mon 2026-11-23 00:00"},
		{"@yearly", "Sun 2026-11-22 21:15", "Fri 2027-01-01 00:00"},
		{"*/20 * * * *", "Sun 2026-11-22 21:41", "Sun 2026-11-22 22:00"},
		{"5/20 * * * *", "Sun 2026-11-22 21:41", "Sun 2026-11-22 21:45"},
		{"30 4 * * mon-fri", "Fri 2026-11-20 04:30", "Mon 2026-11-23 04:30"},
		{"0 9-17/4 * * *", "Sun 2026-11-22 13:00", "Sun 2026-11-22 17:00"},
		{"0 0 29 2 *", "Sun 2026-11-22 21:15", "Tue 2028-02-29 00:00"},
		{"0 0 31 * *", "Sun 2026-11-22 21:15", "Thu 2026-12-31 00:00"},
		{"0 0 13 * 5", "Sun 2026-11-22 21:15", "Fri 2026-11-27 00:00"}, // either one
		{"0 0 * * 7", "Sun 2026-11-22 21:15", "Sun 2026-11-29 00:00"},
		{"0 0 1,15 JAN,Dec *", "Sun 2026-11-22 21:15", "Tue 2026-12-01 00:00"},
		{"59 23 31 12 *", "Thu 2026-12-31 23:59", "Fri 2027-12-31 23:59"},
	} {
		s, err := ParseSchedule(c.schedule)
		if err != nil {
			t.Error(err)
			continue
		}
		after, err := time.Parse(layout, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(after.Add(30 * time.Second)).Format(layout); got != c.want {
			t.Errorf("%s after %s: %s, want %s", c.schedule, c.after, got, c.want)
		}
	}
	for _, bad := range []string{"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@never", "*/0 * * * *",
		"5-2 * * * *", "a * * * *", "+1 * * * *", "-1 * * * *", "1,, * * * *", "0 0 31 2 *", "* * * * * *", "1- * * * *", "/5 * * * *"} {
		if s, err := ParseSchedule(bad); CodeOf(err) != Invalid || HintOf(err) == "" {
			t.Errorf("%q is taken: %+v, %v", bad, s, err)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("*/5 0-23/2 1,2 jan mon-fri", int64(1_700_000_000))
	f.Fuzz(func(t *testing.T, text string, at int64) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		from := time.Unix(at%4_000_000_000, 0)
		if next := s.Next(from); !next.After(from) || next.Second() != 0 {
			t.Errorf("%q after %s: %s", text, from, next)
		}
	})
}
