package traffic

import "time"

// underway counts the requests that have been running for longer than a limit. It needs no list of requests: at least
// (started until then - ended until now) of the requests that had started by then are still running.
type underway struct {
	past                   []startedAt
	overdueOld, overdueNew uint64 // the largest number at one time so far
	countedOld, countedNew uint64 // started requests that have been judged
}

type startedAt struct {
	at       time.Time
	old, new uint64
}

// observeLate compares the requests that started Late ago: those still running are late.
func (t *Trial) observeLate(old, new Sample, now time.Time, took time.Duration) {
	u, bl := &t.underway, &t.blocks
	bl.tookLate += took
	u.past = append(u.past, startedAt{now, old.Started, new.Started})
	var then *startedAt
	for len(u.past) > 0 && !u.past[0].at.After(now.Add(-t.Times.Late)) {
		first := u.past[0]
		then, u.past = &first, u.past[1:]
	}
	if then == nil {
		return
	}
	if u.countedOld == 0 && u.countedNew == 0 { // leave out the requests that were running at the beginning
		u.countedOld, u.countedNew = then.old, then.new
		u.overdueOld, u.overdueNew = less(then.old, old.Ended), less(then.new, new.Ended)
		return
	}
	judge := func(counted, most *uint64, started, ended uint64) (n, k float64) {
		overdue := less(started, ended)
		n, k = float64(less(started, *counted)), float64(less(overdue, *most))
		*counted, *most = max(*counted, started), max(*most, overdue)
		return n, min(n, k)
	}
	var p pair
	p.oldN, p.oldK = judge(&u.countedOld, &u.overdueOld, then.old, old.Ended)
	p.newN, p.newK = judge(&u.countedNew, &u.overdueNew, then.new, new.Ended)
	bl.late = bl.late.plus(p)
	t.Totals.Old.Late += uint64(p.oldK)
	t.Totals.New.Late += uint64(p.newK)
	if bl.late.oldN == 0 || bl.late.newN == 0 {
		return
	}
	t.LateHarm.add(grossLifts, bl.late, t.Known.Late.estimate(0.01), grossTolerance, bl.tookLate)
	t.Known.Late.add(bl.late.oldN, bl.late.oldK)
	bl.late, bl.tookLate = pair{}, 0
}
