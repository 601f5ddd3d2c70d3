package cloud

import (
	"iter"
	"time"
)

// BackupSchedule says when a service is backed up by itself.
type BackupSchedule struct {
	AppRef
	Cron string `json:"cron"` // as ParseSchedule reads it
	// Keep is how many scheduled backups are kept. Others are kept until somebody deletes them.
	Keep    int       `json:"keep"`
	To      string    `json:"to,omitempty"` // as Backup.Place
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	// Last is when the last one that was made was begun.
	Last time.Time `json:"last,omitzero"`
	// Failed is set if the one after that failed.
	Failed *BackupFailure `json:"failed,omitempty"`
}

// BackupFailure is why a scheduled backup was not made.
type BackupFailure struct {
	At     time.Time `json:"at"`
	Times  int       `json:"times"` // in a row
	Reason string    `json:"reason"`
}

// Key is "schedules/GROUP/SERVICE".
func (b *BackupSchedule) Key() Key { return scheduleKey(b.AppRef) }

func scheduleKey(r AppRef) Key { return Key("schedules/" + string(r.Group) + "/" + string(r.App)) }

func (b *BackupSchedule) touch(*touched)    {}
func (b *BackupSchedule) indexes() []string { return nil }

// BackupSchedule returns the schedule of a service.
func (s *State) BackupSchedule(r AppRef) (*BackupSchedule, bool) {
	return get[*BackupSchedule](s, scheduleKey(r))
}

// BackupSchedules yields all schedules, by group and service.
func (s *State) BackupSchedules() iter.Seq[*BackupSchedule] {
	return all[*BackupSchedule](s, "schedules/")
}

// MaxKept bounds how many scheduled backups of a service are kept.
const MaxKept = 1000

// ScheduleBackups returns the changes after which a service is backed up by a schedule.
func (s *State) ScheduleBackups(b BackupSchedule, at Stamp) ([]Change, error) {
	if _, err := s.MustService(b.AppRef); err != nil {
		return nil, err
	}
	if _, err := ParseSchedule(b.Cron); err != nil {
		return nil, err
	}
	if b.Keep < 1 || b.Keep > MaxKept {
		return nil, Errorf(Invalid, "--keep %d is not between 1 and %d", b.Keep, MaxKept)
	}
	to, err := s.CheckPlace(b.To)
	if err != nil {
		return nil, err
	}
	b.To = to
	b.Created, b.By = at.At, at.By
	if was, ok := s.BackupSchedule(b.AppRef); ok {
		b.Last, b.Failed = was.Last, was.Failed
	}
	return []Change{Put(&b)}, nil
}

// EndSchedule returns the changes after which a service is not backed up by itself any more. Its backups stay.
func (s *State) EndSchedule(r AppRef) ([]Change, error) {
	b, ok := s.BackupSchedule(r)
	if !ok {
		return nil, Errorf(NotFound, "%s has no schedule", r).WithCommand("micro service schedule %s --daily 03:00", r)
	}
	return []Change{Delete(b)}, nil
}

// backupRetry is the pause after a scheduled backup that failed.
const backupRetry = 10 * time.Minute

// Due returns when the next backup is to be begun. One that was due while nobody could make it is made up for, once.
func (b *BackupSchedule) Due(now time.Time) time.Time {
	schedule, err := ParseSchedule(b.Cron)
	if err != nil {
		return now.Add(LongestTimer) // of a state that this version would not have written
	}
	since := b.Created
	if b.Last.After(since) {
		since = b.Last
	}
	if since.After(now) { // the clock was set back
		since = now
	}
	due := schedule.Next(since)
	if f := b.Failed; f != nil && !f.At.After(now) && f.At.Add(backupRetry).After(due) {
		due = f.At.Add(backupRetry)
	}
	return due
}

// Done is the schedule after a backup that was begun at a time.
func (b *BackupSchedule) Done(at time.Time) *BackupSchedule {
	next := *b
	next.Last, next.Failed = at, nil
	return &next
}

// Fail is the schedule after a backup that failed.
func (b *BackupSchedule) Fail(at time.Time, reason string) *BackupSchedule {
	next := *b
	next.Failed = &BackupFailure{At: at, Times: 1, Reason: reason}
	if b.Failed != nil {
		next.Failed.Times += b.Failed.Times
	}
	return &next
}
