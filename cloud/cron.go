package cloud

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxJobs is how many jobs an app may have.
const MaxJobs = 50

// Job is a command that is run by the clock, in a container made like those of the web process.
type Job struct {
	Command  string `json:"command"`  // for a shell
	Schedule string `json:"schedule"` // as ParseSchedule reads it
}

// Validate reports what keeps the job from being run.
func (j Job) Validate() error {
	if strings.TrimSpace(j.Command) == "" || strings.ContainsRune(j.Command, 0) {
		return Errorf(Invalid, "a job at %q has no command", j.Schedule)
	}
	_, err := ParseSchedule(j.Schedule)
	return err
}

// Schedule says when a job is run, to the minute, in UTC.
type Schedule struct {
	minute, hour, day, month, weekday uint64 // a bit a value
	// anyDay and anyWeekday say that the field was a star: of two that were not, one has to match (crontab(5)).
	anyDay, anyWeekday bool
}

type scheduleField struct {
	name     string
	min, max int
	names    string // of the values from min on
}

var scheduleFields = []scheduleField{
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of the month", 1, 31, ""},
	{"month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
	{"weekday", 0, 7, "sun mon tue wed thu fri sat"}, // 7 is Sunday, too
}

var scheduleNames = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// ParseSchedule reads the five fields of crontab(5), with steps, ranges, lists and names, or one of
// @hourly, @daily, @weekly, @monthly and @yearly.
func ParseSchedule(text string) (s Schedule, err error) {
	line := strings.ToLower(strings.TrimSpace(text))
	if known, ok := scheduleNames[line]; ok {
		line = known
	}
	fields := strings.Fields(line)
	if len(fields) != len(scheduleFields) {
		return s, Errorf(Invalid, "schedule %q has %d fields, not 5", text, len(fields)).WithHint(`write it like "30 4 * * *" or "@daily"`)
	}
	for i, into := range []*uint64{&s.minute, &s.hour, &s.day, &s.month, &s.weekday} {
		set, ok := scheduleFields[i].parse(fields[i])
		if !ok {
			return s, Errorf(Invalid, "schedule %q: %q is not a valid %s", text, fields[i], scheduleFields[i].name).WithHint(`write it like "30 4 * * *" or "@daily"`)
		}
		*into = set
	}
	s.weekday |= s.weekday >> 7 & 1
	s.anyDay, s.anyWeekday = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return s, Errorf(Invalid, "schedule %q never happens", text).WithHint(`write it like "30 4 * * *" or "@daily"`)
	}
	return s, nil
}

func (f scheduleField) parse(text string) (set uint64, ok bool) {
	for part := range strings.SplitSeq(text, ",") {
		span, by, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(by)
			if err != nil || n < 1 || n > f.max {
				return 0, false
			}
			step = n
		}
		from, to := f.min, f.max
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, ok = f.value(first); !ok {
				return 0, false
			}
			switch {
			case ranged:
				if to, ok = f.value(last); !ok || to < from {
					return 0, false
				}
			case !stepped:
				to = from
			}
		}
		for v := from; v <= to; v += step {
			set |= 1 << v
		}
	}
	return set, true
}

func (f scheduleField) value(text string) (int, bool) {
	if i := slices.Index(strings.Fields(f.names), text); i >= 0 {
		return f.min + i, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= f.min && n <= f.max && text[0] != '+' && text[0] != '-'
}

// Next is the first time after t at which the job is run; zero where there is none within ten years.
func (s Schedule) Next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(10, 0, 0); t.Before(end); {
		switch {
		case s.month>>int(t.Month())&1 == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case s.hour>>t.Hour()&1 == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case s.minute>>t.Minute() == 0: // none is left in this hour
			t = t.Truncate(time.Hour).Add(time.Hour)
		default:
			return t.Add(time.Duration(bits.TrailingZeros64(s.minute>>t.Minute())) * time.Minute)
		}
	}
	return time.Time{}
}

func (s Schedule) onDay(t time.Time) bool {
	day, weekday := s.day>>t.Day()&1 == 1, s.weekday>>int(t.Weekday())&1 == 1
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}
