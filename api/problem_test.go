package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// Every code survives the way to the client, with message and hint.
func TestProblemCodec(t *testing.T) {
	for _, code := range cloud.Codes() {
		in := cloud.Errorf(code, "cannot push %q", "shop").WithCommand("micro logs %s", "a\x1bb")
		w := httptest.NewRecorder()
		WriteProblem(w, ProblemOf(fmt.Errorf("in passing: %w", in)))
		resp := w.Result()
		if resp.StatusCode != code.Status() || resp.Header.Get("Content-Type") != ProblemType {
			t.Errorf("%s: answered %d %s", code, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		err := ReadProblem(resp)
		var out *cloud.Error
		if !errors.As(err, &out) || out.Code != code || out.Hint != `micro logs 'a\x1bb'` || !slices.Equal(out.Command, []string{"micro", "logs", `a\x1bb`}) || out.Msg != `in passing: cannot push "shop"` {
			t.Errorf("%s: came back as %#v", code, err)
		}
	}
}

func TestProblemOfFaultsSaysNothingInside(t *testing.T) {
	p := ProblemOf(errors.New("open /var/lib/micro/secret.key: permission denied"))
	if p.Code != cloud.Internal || p.Status != 500 || p.Detail != "something went wrong inside micro" {
		t.Errorf("got %+v", p)
	}
}

// Whatever was written when the disk was full, the answer says that it was.
func TestProblemOfFullDisk(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		p := ProblemOf(fmt.Errorf("write the build's log: %w", &os.PathError{Op: "write", Path: "/var/lib/micro/x", Err: errno}))
		if p.Code != cloud.Unavailable || p.Detail != "the node's disk is full" || p.Hint != "micro prune" {
			t.Errorf("%v: got %+v", errno, p)
		}
	}
}

func TestProblemLines(t *testing.T) {
	in := &Failed{Err: cloud.Errorf(cloud.DeployFailed, "shop@r2 exited"), Lines: []string{"a\x1b[31m", "b"}}
	data, _ := json.Marshal(ProblemOf(in))
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	var out *Failed
	if err := p.Err(); !errors.As(err, &out) || cloud.CodeOf(err) != cloud.DeployFailed || !slices.Equal(out.Lines, []string{`a\x1b[31m`, "b"}) {
		t.Errorf("came back as %#v", err)
	}
}

// Answers of others than micro have a code too.
func TestReadProblemOfOthers(t *testing.T) {
	for status, want := range map[int]cloud.Code{
		400: cloud.Invalid, 401: cloud.Unauthenticated, 403: cloud.Denied, 404: cloud.NotFound, 405: cloud.NotFound, 408: cloud.Unavailable, 409: cloud.Conflict,
		413: cloud.Invalid, 422: cloud.Invalid, 424: cloud.DeployFailed, 499: cloud.Interrupted,
		429: cloud.Unavailable, 500: cloud.Internal, 502: cloud.Unavailable, 503: cloud.Unavailable, 504: cloud.Unavailable,
	} {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		w.WriteString("<html>\x1b]0;owned\x07</html>")
		if got := cloud.CodeOf(ReadProblem(w.Result())); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode ✓\ttab\nline": "plain ünïcode ✓\ttab\nline",
		"\x1b[2J":                    `\x1b[2J`,
		"a\rb\x00\x7f":               `a\x0db\x00\x7f`,
		"\u009b31m":                  `\u009b31m`,
		"abc\u202egnp.exe":           `abc\u202egnp.exe`,
		"\xff\xfe":                   `\xff\xfe`,
		"\u2028":                     `\u2028`,
		"\ufffd":                     `\ufffd`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}
