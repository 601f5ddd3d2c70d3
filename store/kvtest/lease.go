package kvtest

import (
	"errors"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// leaseSlack is how late a lease may end. etcd checks every half second, and a new etcd leader renews all
// leases once.
const leaseSlack = 10 * time.Second

func grant(t *testing.T, e kv.Engine, ttl time.Duration) kv.LeaseID {
	t.Helper()
	id, err := e.Grant(t.Context(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	if id == 0 {
		t.Fatal("Grant returned lease ID 0, which means no lease")
	}
	return id
}

func putUnder(id kv.LeaseID, keysAndValues ...string) kv.Txn {
	txn := put(keysAndValues...)
	for i := range txn.Put {
		txn.Put[i].Lease = id
	}
	return txn
}

func list(t *testing.T, e kv.Engine, prefix string) string {
	t.Helper()
	pairs, _, err := e.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pairs {
		pairs[i].Rev = 0
	}
	return showPairs(pairs)
}

// testLeaseEnds renews a lease beyond its ttl and then stops. Its keys must be deleted together and not too
// early, and no others.
func testLeaseEnds(t *testing.T, open Open) {
	t.Parallel()
	e := engine(t, open, memoryDir(t))
	const ttl = 2 * time.Second
	id, other := grant(t, e, ttl), grant(t, e, time.Minute)
	commit(t, e, put("plain", "1", "kept", "1"))
	commit(t, e, putUnder(id, "a", "1", "b", "1", "left", "1", "moved", "1", "kept", "2"))
	commit(t, e, put("left", "2", "kept", "3")) // removes these keys from the lease
	last := commit(t, e, putUnder(other, "moved", "2"))
	for began := time.Now(); time.Since(began) < ttl+ttl/2; {
		time.Sleep(ttl / 8) //nolint:forbidigo // the lease's time has to pass
		if err := e.Renew(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	renewed := time.Now()
	if got, want := list(t, e, ""), "a=1@0 b=1@0 kept=3@0 left=2@0 moved=2@0 plain=1@0"; got != want {
		t.Fatalf("while it is renewed: %s, want %s", got, want)
	}
	got, err := take(t.Context(), e, "", last, 1)
	took := time.Since(renewed)
	if err != nil || len(got) != 1 || len(got[0].Changes) != 2 || got[0].Rev != last+1 {
		t.Errorf("its end: %s, %v", showBatches(got), err)
	}
	if took < ttl-ttl/8 || took > ttl+leaseSlack {
		t.Errorf("it ended %s after its renewal, with a ttl of %s", took, ttl)
	}
	if got, want := list(t, e, ""), "kept=3@0 left=2@0 moved=2@0 plain=1@0"; got != want {
		t.Errorf("after its end: %s, want %s", got, want)
	}
	if err := e.Renew(t.Context(), id); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("renewed after its end: %v", err)
	}
	if err := e.Renew(t.Context(), other); err != nil {
		t.Errorf("the other lease: %v", err)
	}
}

func testLeaseRevoked(t *testing.T, open Open) {
	t.Parallel()
	e := engine(t, open, memoryDir(t))
	for _, ttl := range []time.Duration{-time.Second, 0, time.Second - 1} {
		if _, err := e.Grant(t.Context(), ttl); cloud.CodeOf(err) != cloud.Invalid {
			t.Errorf("a lease of %s: %v", ttl, err)
		}
	}
	id := grant(t, e, time.Minute)
	last := commit(t, e, putUnder(id, "a", "1", "b", "1"))
	if err := e.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got, err := take(t.Context(), e, "", last, 1); err != nil || len(got[0].Changes) != 2 {
		t.Errorf("its end: %s, %v", showBatches(got), err)
	}
	if got := list(t, e, ""); got != "" {
		t.Errorf("left: %s", got)
	}
	for what, err := range map[string]error{"renew": e.Renew(t.Context(), id), "revoke": e.Revoke(t.Context(), id), "revoke none": e.Revoke(t.Context(), id+1)} {
		if !errors.Is(err, kv.ErrNoLease) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A transaction with one key under an ended lease must not be committed partly.
	txn := put("c", "1")
	txn.Put = append(txn.Put, kv.Put{Key: "d", Value: []byte("1"), Lease: id})
	if _, err := e.Commit(t.Context(), txn); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("put under a lease that has ended: %v", err)
	}
	if got := list(t, e, ""); got != "" {
		t.Errorf("put under a lease that has ended: %s", got)
	}
	// A deleted key is no longer under its lease, so that the lease ends without a change.
	id = grant(t, e, time.Minute)
	commit(t, e, putUnder(id, "a", "1"))
	commit(t, e, kv.Txn{Del: []string{"a"}})
	last = commit(t, e, put("a", "2"))
	if err := e.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, rev, err := e.List(t.Context(), ""); err != nil || rev != last || list(t, e, "") != "a=2@0" {
		t.Errorf("%s at %d, want revision %d; %v", list(t, e, ""), rev, last, err)
	}
}

// testLeaseReopened checks that the leases of an ended process end too.
func testLeaseReopened(t *testing.T, open Open) {
	t.Parallel()
	dir := memoryDir(t)
	e := engine(t, open, dir)
	id := grant(t, e, time.Second)
	last := commit(t, e, putUnder(id, "a", "1"))
	commit(t, e, put("b", "1"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Grant(t.Context(), time.Second); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("a closed engine grants: %v", err)
	}
	e = engine(t, open, dir)
	for began := time.Now(); list(t, e, "") != "b=1@0"; {
		if time.Since(began) > time.Second+leaseSlack {
			t.Fatalf("keys under an ended lease remain: %s", list(t, e, ""))
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // a poll, with an end
	}
	if next := commit(t, e, put("a", "2")); next <= last+1 {
		t.Errorf("revision %d follows %d", next, last+1)
	}
	if got := list(t, e, ""); got != "a=2@0 b=1@0" {
		t.Errorf("got %s", got)
	}
}

// testOneLeader lets two candidates compete for one key. The second must get it when the first one's lease has
// ended. Then writes of the first, on the condition that it leads, must be refused.
func testOneLeader(t *testing.T, open Open) {
	t.Parallel()
	e := engine(t, open, memoryDir(t))
	first, second := grant(t, e, time.Second), grant(t, e, time.Minute)
	elect := func(id kv.LeaseID, name string) (int64, error) {
		txn := putUnder(id, "leader", name)
		txn.If = []kv.Cond{kv.Absent("leader")}
		return e.Commit(t.Context(), txn)
	}
	rev, err := elect(first, "first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elect(second, "second"); !errors.Is(err, kv.ErrConflict) {
		t.Fatalf("two leaders: %v", err)
	}
	work := put("work", "done")
	work.If = []kv.Cond{kv.Unchanged("leader", rev)}
	commit(t, e, work)
	for began := time.Now(); ; {
		if _, err := elect(second, "second"); err == nil {
			break
		} else if !errors.Is(err, kv.ErrConflict) || time.Since(began) > time.Second+leaseSlack {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // a poll, with an end
	}
	if _, err := e.Commit(t.Context(), work); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("a former leader can write: %v", err)
	}
}
