package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

func lines(t *testing.T, s *Store) []Line {
	t.Helper()
	var all []Line
	for l, err := range s.Audit(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestAuditLine(t *testing.T) {
	now := time.Date(2026, 11, 22, 21, 15, 0, 0, time.UTC)
	s := newStore(t, Config{Now: func() time.Time { return now }})
	update(t, s, count("a"))
	if err := s.Record(t.Context(), cloud.Actor{Name: "bob"}, "exec", "shop/web.0@r7", "exit 3"); err != nil {
		t.Fatal(err)
	}
	update(t, s, count("a"))
	got := lines(t, s)
	for i := range got {
		if want := i > 0; (got[i].Prev != "") != want {
			t.Errorf("line %d follows %q", i+1, got[i].Prev)
		}
		got[i].Prev = ""
	}
	want := []Line{
		{N: 1, Time: now, Rev: 1, Actor: alice, Verb: "test", Object: "a thing", Result: "done"},
		{N: 2, Time: now, Actor: cloud.Actor{Name: "bob"}, Verb: "exec", Object: "shop/web.0@r7", Result: "exit 3"},
		{N: 3, Time: now, Rev: 2, Actor: alice, Verb: "test", Object: "a thing", Result: "done"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAuditTextsAreBounded(t *testing.T) {
	s := newStore(t, Config{})
	if err := s.Record(t.Context(), alice, "exec", strings.Repeat("ä", 5000), "done"); err != nil {
		t.Fatal(err)
	}
	if got, want := lines(t, s)[0].Object, strings.Repeat("ä", maxText/2)+"…"; got != want {
		t.Errorf("got %q", got)
	}
}

// TestAuditChain changes the log directly in the engine, in every possible way: each must be noticed.
func TestAuditChain(t *testing.T) {
	for name, tamper := range map[string]func(lines []kv.Pair) kv.Txn{
		"a word": func(l []kv.Pair) kv.Txn {
			return kv.Txn{Put: []kv.Put{{Key: l[1].Key, Value: []byte(strings.Replace(string(l[1].Value), "alice", "mallory", 1))}}}
		},
		"a line less": func(l []kv.Pair) kv.Txn { return kv.Txn{Del: []string{l[1].Key}} },
		"the last":    func(l []kv.Pair) kv.Txn { return kv.Txn{Del: []string{l[2].Key}} },
		"the first":   func(l []kv.Pair) kv.Txn { return kv.Txn{Del: []string{l[0].Key}} },
		"all":         func(l []kv.Pair) kv.Txn { return kv.Txn{Del: []string{l[0].Key, l[1].Key, l[2].Key}} },
		"the order": func(l []kv.Pair) kv.Txn {
			return kv.Txn{Put: []kv.Put{{Key: l[0].Key, Value: l[1].Value}, {Key: l[1].Key, Value: l[0].Value}}}
		},
		"rubbish": func(l []kv.Pair) kv.Txn { return kv.Txn{Put: []kv.Put{{Key: l[2].Key, Value: []byte("x")}}} },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, memoryDir(t))
			s := newStore(t, Config{Engine: e})
			for range 3 {
				update(t, s, count("a"))
			}
			pairs, _, err := e.List(t.Context(), auditPrefix)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Commit(t.Context(), tamper(pairs)); err != nil {
				t.Fatal(err)
			}
			var end error
			for _, err := range s.Audit(t.Context(), 0, false) {
				end = err
			}
			if cloud.CodeOf(end) != cloud.Internal || !strings.Contains(end.Error(), "audit log") {
				t.Errorf("got %v", end)
			}
		})
	}
}

func TestAuditFollow(t *testing.T) {
	s := newStore(t, Config{AuditLines: 150})
	for range 120 {
		update(t, s, count("a"))
	}
	n := uint64(110)
	go func() {
		for range 400 {
			_, _ = s.Update(t.Context(), alice, "test", "", count("a"))
		}
	}()
	for l, err := range s.Audit(t.Context(), n, true) {
		if err != nil {
			t.Fatal(err)
		}
		if l.N != n+1 && l.N%trimLines != 1 { // lines may be missing only if they were trimmed
			t.Fatalf("line %d after %d", l.N, n)
		}
		if n = l.N; n == 520 {
			break
		}
	}
	if n != 520 {
		t.Fatalf("following ended after line %d", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for l, err := range s.Audit(ctx, n, true) {
		t.Errorf("after the end: %v, %v", l, err)
	}
}

func TestAuditIsTrimmed(t *testing.T) {
	dir := memoryDir(t)
	e := newEngine(t, dir)
	s := newStore(t, Config{Engine: e, AuditLines: 150})
	for i := range 700 {
		update(t, s, count("a"))
		if kept := s.head.Lines - s.head.Trimmed; kept > 150+trimLines || i > 150 && kept < 150 {
			t.Fatalf("%d lines are kept after %d", kept, i+1)
		}
	}
	got := lines(t, s)
	if first, last := got[0].N, got[len(got)-1].N; first != s.head.Trimmed+1 || last != 700 {
		t.Errorf("lines %d to %d", first, last)
	}
	if pairs, _, err := e.List(t.Context(), auditPrefix); err != nil || len(pairs) != len(got) {
		t.Errorf("%d lines are in the engine, %d can be read, %v", len(pairs), len(got), err)
	}
}

// TestRefusals floods the store with refused requests: a few audit lines must have their total number.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		s.Refused(alice, "push", "shop")
		s.Refused(alice, "push", "shop")
		s.Refused(cloud.Actor{Name: "bob", Source: "one"}, "push", "shop")
		s.Refused(cloud.Actor{Name: "bob", Source: "other"}, "push", "shop")
		if n := len(lines(t, s)); n != 0 {
			t.Errorf("%d lines are written while the caller waits", n)
		}
		time.Sleep(refusalPause + time.Millisecond)
		synctest.Wait()
		var got []string
		for _, l := range lines(t, s) {
			got = append(got, fmt.Sprintf("%s %s %s %s %d", l.Name, l.Verb, l.Object, l.Result, l.Count))
		}
		if want := []string{"alice push shop refused 2", "bob push shop refused 2"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		const hours = 2
		for i := range hours * 3600 * 10 {
			s.Refused(alice, "push", fmt.Sprint("app", i))
			time.Sleep(100 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		count, all := 0, lines(t, s)
		for _, l := range all {
			count += l.Count
		}
		if limit := refusalBurst + refusalKinds + 2 + hours*int(time.Hour/refusalEvery); len(all) > limit {
			t.Errorf("%d lines, more than %d", len(all), limit)
		}
		if want := 4 + hours*3600*10; count != want {
			t.Errorf("the lines stand for %d refusals of %d", count, want)
		}
	})
}
