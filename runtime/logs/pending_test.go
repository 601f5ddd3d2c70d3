package logs

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func said(text string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, text...) }
}

func TestAppendedLinesAreWritten(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	other := cloud.AppRef{Group: "qa", App: "shop"}
	for range 2 { // the second time in a buffer that was used before
		l.Append(shop, Line{Stream: Router, Release: 3}, said("200 GET /"))
		l.Append(other, Line{Stream: Router}, said("404 GET /"))
		l.Append(shop, Line{Stream: Router, Instance: "i1"}, said("201 POST /"))
		l.flush()
	}
	if got := texts(t, l, Query{App: shop, Tail: -1}); !slices.Equal(got, []string{"200 GET /", "201 POST /", "200 GET /", "201 POST /"}) {
		t.Errorf("%q", got)
	}
	if got := texts(t, l, Query{App: other, Tail: -1}); !slices.Equal(got, []string{"404 GET /", "404 GET /"}) {
		t.Errorf("%q", got)
	}
	l.flush()
	if len(l.pending.logs) > 0 {
		t.Error("quiet apps keep their buffers")
	}
}

func TestTooMuchIsDroppedAndSaid(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	long := said(strings.Repeat("x", 1000))
	for range maxPending/1000 + 100 {
		l.Append(shop, Line{Stream: Router}, long)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	got := texts(t, l, Query{App: shop, Tail: -1})
	if last := got[len(got)-1]; !strings.HasSuffix(last, "lines were dropped: they came faster than they could be written") {
		t.Errorf("%d lines, last %q", len(got), last)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	l.pending.logs[logKey{shop, true}] = &batch{records: make([]byte, 0, 1<<20)}
	instance := []byte("shop-r7-web-0-k3x9")
	if n := testing.AllocsPerRun(1000, func() {
		l.Append(shop, Line{Stream: Router, Release: 7}, func(b []byte) []byte { return append(b, instance...) })
	}); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}
