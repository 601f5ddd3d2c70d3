package handler

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

func TestExec(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	var got runtime.Command
	s.f.exec = func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
		got = c
		if _, err := io.Copy(c.Stdout, c.Stdin); err != nil { // until the end of input, output goes on after it
			return 0, err
		}
		io.WriteString(c.Stderr, "at "+string(id))
		io.WriteString(c.Stdout, "!")
		return 143, nil
	}
	in := bytes.Repeat([]byte("0123456789"), 300_000) // many windows
	var out, errs bytes.Buffer
	code, err := s.Exec(t.Context(), ref("shop"), api.Command{Args: []string{"cat", "-"}, Env: []string{"A=b"}, User: "www", Dir: "/srv"},
		api.Streams{Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &errs})
	if err != nil || code != 143 {
		t.Fatal(code, err)
	}
	if out.String() != string(in)+"!" || errs.String() != "at shop-r1-web-0-g0" {
		t.Errorf("%d bytes of output, %q", out.Len(), errs.String())
	}
	if got.User != "www" || got.Dir != "/srv" || got.Env[0] != "A=b" || got.Args[1] != "-" {
		t.Errorf("command %+v", got)
	}
	// Without input there is none; a one-off runs in a container of its release.
	s.f.exec = func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
		if c.Stdin != nil {
			t.Error("there is input")
		}
		io.WriteString(c.Stdout, string(id))
		return 0, nil
	}
	out.Reset()
	if code, err := s.Run(t.Context(), ref("shop"), api.Command{Args: []string{"migrate"}}, api.Streams{Stdout: &out}); err != nil || code != 0 || out.String() != "shop@r1" {
		t.Error(code, err, out.String())
	}
}

func TestExecTerminal(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	s.f.exec = func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
		if !c.TTY || c.Rows != 24 || c.Columns != 80 {
			t.Errorf("command %+v", c)
		}
		size := <-c.Resize
		return int(size.Rows), nil
	}
	resize := make(chan api.Size, 1)
	resize <- api.Size{Rows: 50, Columns: 100}
	code, err := s.Exec(t.Context(), ref("shop"), api.Command{Args: []string{"sh"}, TTY: true, Rows: 24, Columns: 80}, api.Streams{Resize: resize})
	if err != nil || code != 50 {
		t.Error(code, err)
	}
}

// When the client goes, so does the command: also one that neither reads nor writes, with input waiting.
func TestExecEndsWithItsClient(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	began, ended := make(chan struct{}), make(chan struct{})
	s.f.exec = func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	calling.Go(func() {
		_, err := s.Exec(ctx, ref("shop"), api.Command{Args: []string{"sleep", "inf"}}, api.Streams{Stdin: endless{}})
		wantCode(t, err, cloud.Interrupted)
	})
	<-began
	cancel()
	<-ended
	calling.Wait()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestExecErrors(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	nine := 9
	for want, c := range map[string]api.Command{
		"no process":         {Args: []string{"ls"}, Process: "worker"},
		"no instance of web": {Args: []string{"ls"}, Index: &nine},
		"has no instance":    {Args: []string{"ls"}, Instance: "other-r1-web-0"},
		"no release r7":      {Args: []string{"ls"}, Release: 7},
		"NUL":                {Args: []string{"ls", "a\x00b"}},
		"is empty":           {Args: []string{""}},
		"body.args":          {Args: []string{}},
	} {
		_, err := s.Exec(t.Context(), ref("shop"), c, api.Streams{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
	s.f.exec = func(context.Context, cloud.InstanceID, runtime.Command) (int, error) {
		return 0, cloud.Errorf(cloud.Invalid, "no command %q in the container", "lss").WithCommand("micro exec shop -- ls")
	}
	_, err := s.Exec(t.Context(), ref("shop"), api.Command{Args: []string{"lss"}}, api.Streams{})
	wantCode(t, err, cloud.Invalid, "lss", "micro exec")
	s.f.exec = func(context.Context, cloud.InstanceID, runtime.Command) (int, error) {
		return 0, errors.New("secret detail")
	}
	_, err = s.Exec(t.Context(), ref("shop"), api.Command{Args: []string{"x"}}, api.Streams{})
	wantCode(t, err, cloud.Internal, "inside micro")
}

// A client that breaks the rules ends its own command and nothing else.
func TestExecRules(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	for name, frames := range map[string]string{
		"unknown type":  "\x63\x00\x00\x00\x00",
		"too long":      "\x00\xff\xff\xff\xff",
		"server's type": "\x04\x00\x00\x00\x04\x00\x00\x00\x00",
		"no size":       "\x03\x00\x00\x00\x01x",
		"over credit":   strings.Repeat("\x00\x00\x01\x00\x00"+strings.Repeat("x", 64<<10), 5),
	} {
		ended := make(chan struct{})
		s.f.exec = func(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
			<-ctx.Done()
			close(ended)
			return 0, ctx.Err()
		}
		c, err := net.Dial("unix", s.sock)
		if err != nil {
			t.Fatal(err)
		}
		body := `{"args":["x"],"stdin":true}`
		_, err = io.WriteString(c, "POST /v1/groups/default/apps/shop/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+api.ExecProtocol+
			"\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n"+body+frames)
		if err != nil {
			t.Fatal(name, err)
		}
		<-ended
		c.Close()
	}
}
