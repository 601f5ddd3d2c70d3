package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/protoduction/micro/cloud"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An app that prints faster than it is copied loses what would be dropped at once anyway, and is told so;
// what it printed last is there.
func TestFloodIsPassedOver(t *testing.T) {
	l := open(t, t.TempDir(), 1<<20)
	defer l.close()
	path, err := l.Open(instance("i1"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "first\n"+strings.Repeat(strings.Repeat("z", 99)+"\n", 100_000)+"last\n")
	turns := 0
	for l.copyOne("i1") {
		turns++
	}
	if turns > 4 {
		t.Errorf("10 MB took %d turns", turns)
	}
	got := texts(t, l, Query{App: shop, Tail: -1})
	if !strings.HasPrefix(got[0], "[94") || !strings.HasSuffix(got[0], "bytes were dropped: more came than an app's log keeps]") || got[len(got)-1] != "last" {
		t.Errorf("%q … %q", got[0], got[len(got)-1])
	}
}

// A line that is too long is cut between characters, and no byte of it is lost.
func TestLongLinesAreCutBetweenCharacters(t *testing.T) {
	for name, line := range map[string]string{
		"two bytes":         "a" + strings.Repeat("é", 100_000),
		"four bytes":        strings.Repeat("\U0001F600", 40_000) + "x",
		"three bytes":       "ab" + strings.Repeat("€", 60_000),
		"a CR at the cut":   strings.Repeat("y", maxLine-1) + "\r" + strings.Repeat("z", 10),
		"not UTF-8":         strings.Repeat("\xff\x80\xe2", 60_000),
		"only latin-1":      strings.Repeat("\xe9", 100_000),
		"a broken one":      strings.Repeat("x", maxLine-1) + "\xe9" + strings.Repeat("x", 100),
		"exactly as long":   strings.Repeat("x", maxLine-2) + "é",
		"one byte too many": strings.Repeat("x", maxLine-1) + "é",
	} {
		l := open(t, t.TempDir(), DefaultLimit)
		path, err := l.Open(instance("i1"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, line+"\nnext\n")
		l.Done("i1")
		got := texts(t, l, Query{App: shop, Tail: -1})
		if strings.Join(got, "") != line+"next" || got[len(got)-1] != "next" {
			t.Errorf("%s: %d pieces of %d bytes, want %d", name, len(got), len(strings.Join(got, "")), len(line)+4)
		}
		for i, piece := range got {
			if utf8.ValidString(line) && !utf8.ValidString(piece) {
				t.Errorf("%s: piece %d is cut inside a character: %q…%q", name, i, piece[:3], piece[len(piece)-3:])
			}
		}
		l.close()
	}
}

// What is left after a flood begins with a line, or at least with a character.
func TestFloodIsPassedOverToALine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{strings.Repeat("é234567\n", 300_000), "é234567"},
		{strings.Repeat("éé€", 300_000), ""},
	} {
		l := open(t, t.TempDir(), 1<<20)
		path, err := l.Open(instance("i1"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "x"+tt.text)
		l.Done("i1")
		got := texts(t, l, Query{App: shop, Tail: -1})
		if len(got) < 2 || !utf8.ValidString(got[1]) || tt.want != "" && got[1] != tt.want {
			t.Errorf("%.20q: %d lines, the second begins with %.20q", tt.text, len(got), got[1])
		}
		l.close()
	}
}

// Others get their turn while one app prints on and on.
func TestFloodKeepsNobodyWaiting(t *testing.T) {
	l := open(t, t.TempDir(), 4<<20)
	loud, err := l.Open(instance("loud"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := &cloud.Instance{ID: "quiet", Slot: cloud.Slot{ReleaseRef: cloud.AppRef{Group: "default", App: "blog"}.Release(1), Process: cloud.Web}}
	path, err := l.Open(quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran, flooded := make(chan error, 1), make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	go func() {
		f, err := os.OpenFile(loud, os.O_APPEND|os.O_WRONLY, 0)
		block := bytes.Repeat([]byte("yes\n"), 64<<10)
		for err == nil && ctx.Err() == nil {
			_, err = f.Write(block)
			if info, _ := f.Stat(); info.Size() > 256<<20 {
				break
			}
		}
		f.Close()
		flooded <- err
	}()
	write(t, path, "hello\n")
	began := time.Now()
	for line, err := range l.Read(ctx, Query{App: quiet.AppRef, Tail: -1, Follow: true}) {
		if err != nil || line.Text != "hello" {
			t.Errorf("read %q, %v", line.Text, err)
		}
		break
	}
	l.Done("quiet")
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("a line took %s", d)
	}
	cancel()
	if err := <-flooded; err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// What is known of an instance goes with it, also for who opens the journal later; what nobody has
// opened after a restart is removed.
func TestNothingIsLeftOfAnInstance(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	for k := range 3 {
		path, err := l.Open(instance(cloud.InstanceID(fmt.Sprintf("i%d", k))))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "one\nno end")
	}
	l.Done("i0")
	l.Done("i1")
	l.copyAll()
	l.close()
	l = open(t, dir, 0)
	defer l.close()
	if got := texts(t, l, Query{App: shop, Tail: -1}); !slices.Equal(got, []string{"one", "no end", "one", "no end", "one"}) {
		t.Errorf("lines are %q", got)
	}
	if ends := l.journals[logKey{AppRef: shop}].ends; len(ends) != 1 || ends["i2"] != 4 {
		t.Errorf("it knows of %v", ends)
	}
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(l.rawDir()); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// Who follows a log that was dropped and begun anew finds the new one.
func TestCursorOfALogThatIsGone(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	defer l.close()
	l.Append(shop, Line{Stream: API}, func(b []byte) []byte { return append(b, "new"...) })
	l.flush()
	if got := texts(t, l, Query{App: shop, Tail: -1, After: "57:1000"}); !slices.Equal(got, []string{"new"}) {
		t.Errorf("lines are %q", got)
	}
}

// Offsets survive the segments in which they were first written.
func TestOffsetsOutliveTheirSegments(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 64<<10)
	quiet, err := l.Open(instance("quiet"))
	if err != nil {
		t.Fatal(err)
	}
	loud, err := l.Open(instance("loud"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, quiet, "once\n")
	l.copyAll()
	for range 100 {
		write(t, loud, strings.Repeat("x", 4000)+"\n")
		l.copyAll()
	}
	l.close()
	l = open(t, dir, 64<<10)
	defer l.close()
	if _, err := l.Open(instance("quiet")); err != nil {
		t.Fatal(err)
	}
	l.copyAll()
	for _, text := range texts(t, l, Query{App: shop, Tail: -1}) {
		if text == "once" {
			t.Error("a line was copied twice")
		}
	}
}
