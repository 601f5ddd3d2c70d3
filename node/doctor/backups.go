package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
)

// overdue is how much later than its time a scheduled backup may be.
const overdue = time.Hour

// checkBackups reports scheduled backups that failed, or that were not made.
func (d Doctor) checkBackups(now time.Time) api.Check {
	state := d.Views.View().State
	var faults []string
	hint, all := "", 0
	for b := range state.BackupSchedules() {
		if _, err := state.MustService(b.AppRef); err != nil {
			continue
		}
		all++
		due := b.Due(now)
		switch {
		case b.Failed != nil:
			fault := fmt.Sprintf("the scheduled backup of %s failed", b.AppRef)
			if b.Failed.Times > 1 {
				fault += fmt.Sprintf(" %d times", b.Failed.Times)
			}
			faults = append(faults, fault+": "+b.Failed.Reason)
		case now.Sub(due) > overdue:
			faults = append(faults, fmt.Sprintf("the scheduled backup of %s was due at %s", b.AppRef, due.Format(time.DateTime+" MST")))
		default:
			continue
		}
		if hint == "" {
			hint = "micro service backup " + b.AppRef.String()
		}
	}
	if len(faults) > 0 {
		return check("backups", api.Warn, hint, "%s", strings.Join(faults, "; "))
	}
	return check("backups", api.OK, "", "%d services are backed up by a schedule", all)
}
