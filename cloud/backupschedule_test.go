package cloud

import (
	"testing"
	"time"
)

// TestDue has a daily schedule through a night in which micro does not run, failures, and a clock that is set back.
func TestDue(t *testing.T) {
	day := func(d, h, m int) time.Time { return time.Date(2026, 11, d, h, m, 0, 0, time.UTC) }
	b := &BackupSchedule{Cron: "0 3 * * *", Keep: 2, Created: day(1, 12, 0)}
	due := func(now, want time.Time) {
		t.Helper()
		if got := b.Due(now); !got.Equal(want) {
			t.Errorf("at %s due at %s, want %s", now, got, want)
		}
	}
	due(day(1, 12, 0), day(2, 3, 0))
	due(day(4, 9, 0), day(2, 3, 0)) // missed, and made up for
	b = b.Done(day(4, 9, 0))
	due(day(4, 9, 1), day(5, 3, 0))
	b = b.Fail(day(5, 3, 1), "no room").Fail(day(5, 3, 11), "no room")
	due(day(5, 3, 12), day(5, 3, 21))
	if b.Failed.Times != 2 {
		t.Errorf("failed %d times", b.Failed.Times)
	}
	b = b.Done(day(5, 3, 21))
	due(day(5, 3, 22), day(6, 3, 0))
	due(day(3, 0, 0), day(3, 3, 0)) // set back
}

// TestOutdated keeps the newest scheduled backups, and all that people made.
func TestOutdated(t *testing.T) {
	s := NewState()
	shop := AppRef{"default", "testdb"}
	var changes []Change
	for i, id := range []BackupID{"20260101T000000Z", "20260102T000000Z", "20260103T000000Z", "20260104T000000Z"} {
		changes = append(changes, Put(&Backup{AppRef: shop, ID: id, Scheduled: i != 1}))
	}
	changes = append(changes, Put(&Backup{AppRef: AppRef{"default", "testdb-2"}, ID: "20270101T000000Z", Scheduled: true}))
	s = s.Apply(1, changes)
	for keep, want := range map[int]int{0: 3, 1: 2, 3: 0, 9: 0} {
		if got := s.Outdated(shop, keep); len(got) != want || want > 0 && got[0].ID != "20260101T000000Z" {
			t.Errorf("keeping %d: %d go", keep, len(got))
		}
	}
	if b, err := s.MustBackup(shop, "latest"); err != nil || b.ID != "20260104T000000Z" {
		t.Errorf("%v, %v", b, err)
	}
	if id := s.NewBackupID(shop, time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)); id != "20260104T000000Z-2" {
		t.Errorf("the next is %s", id)
	}
	if r, id, ok := ParseBackupName((&Backup{AppRef: shop, ID: "x"}).FileName()); !ok || r != shop || id != "x" {
		t.Errorf("%v %v %v", r, id, ok)
	}
}
