package accesslog

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime/logs"
)

var exchange = router.Exchange{
	Start: time.Unix(1700000000, 0), Duration: 12345 * time.Microsecond, Client: netip.MustParseAddrPort("10.0.0.9:4711"),
	Method: []byte("GET"), Host: []byte("shop.micro.test"), Target: []byte("/a?b=c"), RequestID: []byte("f00d"),
	Release: cloud.AppRef{Group: "qa", App: "shop"}.Release(7), Instance: "qa-shop-r7-web-0-k3x9", Status: 200, In: 1, Out: 23,
}

func newRecorder(t *testing.T) Recorder {
	l, err := logs.New(logs.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return Recorder{l}
}

func TestAccessLine(t *testing.T) {
	const want = "200 GET shop.micro.test/a?b=c duration=12.34ms in=1 out=23 client=10.0.0.9 id=f00d instance=qa-shop-r7-web-0-k3x9"
	if got := string(appendAccess(nil, &exchange)); got != want {
		t.Errorf("\n%s\n%s", got, want)
	}
	a := newRecorder(t)
	a.Record(&exchange)
	a.Record(&router.Exchange{Status: 404}) // without an app
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Logs.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var lines []logs.Line
	for l, err := range a.Logs.Read(t.Context(), logs.Query{App: cloud.AppRef{Group: "qa", App: "shop"}, Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 1 || lines[0].Text != want || lines[0].Release != 7 || lines[0].Stream != logs.Router ||
		lines[0].Instance != exchange.Instance || !lines[0].Time.Equal(exchange.Start.Add(exchange.Duration)) {
		t.Errorf("%+v", lines)
	}
}

// TestAccessLineIsBounded checks that long requests make no long lines, which would push out the app's own lines.
func TestAccessLineIsBounded(t *testing.T) {
	long := exchange
	much := bytes.Repeat([]byte("a"), 30_000)
	long.Method, long.Host, long.Target, long.RequestID = much, much, much, much
	if n := len(appendAccess(nil, &long)); n > 1700 {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestAccessAllocatesNothing(t *testing.T) {
	a := newRecorder(t)
	for range 20000 { // let the buffer grow first
		a.Record(&exchange)
	}
	if n := testing.AllocsPerRun(500, func() { a.Record(&exchange) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// BenchmarkAccess measures the cost of a line without the write to disk.
func BenchmarkAccess(b *testing.B) {
	l, err := logs.New(logs.Config{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	a := Recorder{l}
	b.ReportAllocs()
	for b.Loop() {
		a.Record(&exchange)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
