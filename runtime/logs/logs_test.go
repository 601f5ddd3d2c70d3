package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

var shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}

func instance(id cloud.InstanceID) *cloud.Instance {
	return &cloud.Instance{ID: id, Slot: cloud.Slot{ReleaseRef: shop.Release(3), Process: cloud.Web, Index: 1}}
}

func open(t *testing.T, dir string, limit int64) *Logs {
	t.Helper()
	l, err := New(Config{Dir: dir, Limit: limit, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func texts(t *testing.T, l *Logs, q Query) (lines []string) {
	t.Helper()
	for line, err := range l.Read(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Text)
	}
	return lines
}

// TestMain lets the test run itself again as a collector that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LOGS_TEST_COLLECT"); dir != "" {
		l, err := New(Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		if err == nil {
			_, err = l.Open(instance("i1"))
		}
		if err == nil {
			fmt.Println("collecting")
			err = l.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A collector that is killed again and again, while the app writes on, neither loses nor doubles a line.
func TestKilledCollectorLosesAndDoublesNothing(t *testing.T) {
	const kills, lines = 8, 60_000
	dir := t.TempDir()
	l := open(t, dir, 0)
	path, err := l.Open(instance("i1"))
	if err != nil {
		t.Fatal(err)
	}
	l.close()
	written := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		for i := 0; i < lines && err == nil; i += 20 {
			var b bytes.Buffer
			for k := range 20 {
				fmt.Fprintf(&b, "line %d %s\n", i+k, strings.Repeat("x", i%97))
			}
			_, err = f.Write(b.Bytes())
			if i%1000 == 0 {
				time.Sleep(10 * time.Millisecond) // the app's own pace, so that kills fall between its writes
			}
		}
		written <- err
	}()
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGS_TEST_COLLECT="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond) // somewhere in its work
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, 0)
	defer l.close()
	if _, err := l.Open(instance("i1")); err != nil {
		t.Fatal(err)
	}
	l.Done("i1")
	got := texts(t, l, Query{App: shop, Tail: -1})
	if len(got) != lines {
		t.Fatalf("%d lines, want %d", len(got), lines)
	}
	for i, text := range got {
		if !strings.HasPrefix(text, "line "+strconv.Itoa(i)+" ") {
			t.Fatalf("line %d is %q", i, text)
		}
	}
}

// What an app prints without end takes no more room than its limit, in the journal and in the raw file.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 4<<20)
	defer l.close()
	path, err := l.Open(instance("i1"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte(strings.Repeat("y", 99)+"\n"), 10_000)
	for range 30 {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
		l.copyAll()
	}
	out, err := exec.Command("du", "-sk", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	kib, _ := strconv.Atoi(strings.Fields(string(out))[0])
	if kib > 8<<10 {
		t.Errorf("30 MB of output take %d KiB, want at most the limit of 4 MiB and a bit", kib)
	}
	if got := texts(t, l, Query{App: shop, Tail: 3}); len(got) != 3 || len(got[2]) != 99 {
		t.Errorf("tail is %d lines", len(got))
	}
}

func TestReadFollowsAndGoesOnBehindACursor(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	path, err := l.Open(instance("i1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	write := func(s string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(s)
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	write("one\r\ntwo\nhalf")
	var got []string
	var after string
	for line, err := range l.Read(ctx, Query{App: shop, Tail: -1, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.Text)
		switch line.Text {
		case "one":
			after = line.Cursor
		case "two":
			write(" and half\n")
		}
		if line.Text == "half and half" {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := []string{"one", "two", "half and half"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("followed %q, want %q", got, want)
	}
	again := open(t, l.Dir, 0)
	defer again.close()
	if got := texts(t, again, Query{App: shop, Tail: -1, After: after}); fmt.Sprint(got) != "[two half and half]" {
		t.Errorf("behind the first line is %q", got)
	}
}

func TestLinesSurviveTheirRecord(t *testing.T) {
	for _, text := range []string{"", " ", "a b  c ", "\x1b[31mred\x00", "ünï", strings.Repeat("z", maxLine)} {
		want := Line{Time: time.Unix(1, 2).UTC(), Stream: App, Release: 7, Process: "web", Index: 2, Instance: "x", Late: true, Text: text, end: 99}
		got, ok := parseLine(bytes.TrimSuffix(want.append(nil), []byte("\n")))
		if !ok || got != want {
			t.Errorf("%q came back as %+v", text, got)
		}
	}
}
