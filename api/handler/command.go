package handler

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Commands run in containers.
type Commands interface {
	// Exec runs a command in an instance of any node and returns its exit code. It ends the command with ctx.
	Exec(ctx context.Context, id cloud.InstanceID, by cloud.Actor, c runtime.Command) (int, error)
	// Run runs a command in a container of its own, made like those of the release, and removes it.
	Run(ctx context.Context, o OneOff) (int, error)
}

// OneOff is a command in a container of its own.
type OneOff struct {
	Release cloud.ReleaseRef // never N 0
	Process cloud.ProcessName
	Memory  int64 // bytes; 0: as the process has it
	By      cloud.Actor
	Command runtime.Command
}

type commandInput struct {
	AppInput
	Body api.Command
}

// start begins a command; it returns its exit code when it has ended.
type start func(ctx context.Context, c runtime.Command) (int, error)

func (h *Handler) serveCommands() {
	h.serveCommand("exec", "Run a command in an instance",
		func(ctx context.Context, app cloud.AppRef, c api.Command) (start, string, error) {
			i, err := pick(h.view(ctx), app, c)
			if err != nil {
				return nil, "", err
			}
			// The instance may be named, and be of another release than the request says.
			if err := h.require(ctx, cloud.MayOperate, scopeOf(i.ReleaseRef)[0]); err != nil {
				return nil, "", err
			}
			if err := h.mayEnter(ctx, i.ReleaseRef); err != nil {
				return nil, "", err
			}
			return func(ctx context.Context, rc runtime.Command) (int, error) {
				return h.Commands.Exec(ctx, i.ID, requestOf(ctx).actor, rc)
			}, i.String(), nil
		})
	h.serveCommand("run", "Run a command in a container of its own",
		func(ctx context.Context, app cloud.AppRef, c api.Command) (start, string, error) {
			ref := app.Release(c.Release)
			state := h.view(ctx).State
			ref.N = current(state, ref)
			_, rel, err := state.MustRelease(ref)
			if err != nil {
				return nil, "", err
			}
			if err := h.mayEnter(ctx, rel.ReleaseRef); err != nil {
				return nil, "", err
			}
			one := OneOff{Release: rel.ReleaseRef, Process: cmp.Or(c.Process, rel.Spec.Main()), Memory: c.Memory, By: requestOf(ctx).actor}
			if _, ok := rel.Spec.Processes[one.Process]; !ok {
				return nil, "", cloud.Errorf(cloud.NotFound, "release %s has no process %q", rel.ReleaseRef, one.Process).WithCommand("micro app %s", app)
			}
			if c.Memory != 0 && c.Memory < cloud.MinMemory {
				return nil, "", cloud.Errorf(cloud.Invalid, "memory %s is less than %s", cloud.FormatSize(c.Memory), cloud.FormatSize(cloud.MinMemory))
			}
			if err := h.awaitAccounts(ctx, rel); err != nil {
				return nil, "", err
			}
			return func(ctx context.Context, rc runtime.Command) (int, error) {
				one.Command = rc
				return h.Commands.Run(ctx, one)
			}, rel.ReleaseRef.String(), nil
		})
}

// accountTimeout is how long a command waits for the accounts of its release.
const accountTimeout = 10 * time.Second

// awaitAccounts waits until a release has accounts at all services that it is bound to. A release that does not run has none.
func (h *Handler) awaitAccounts(ctx context.Context, rel *cloud.Release) error {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	for s := h.Store.State(); ; s = h.Views.AtLeast(ctx, s.Rev()+1).State {
		reason := s.Unmet(rel)
		switch now, ok := s.Release(rel.ReleaseRef); {
		case reason == "":
			return nil
		case !ok || !s.Runs(now):
			return cloud.Errorf(cloud.Conflict, "release %s does not run, and has no account at the services that it is bound to", rel.ReleaseRef).WithCommand("micro start %s", rel.ReleaseRef)
		case ctx.Err() != nil:
			return cloud.Errorf(cloud.Unavailable, "release %s %s", rel.ReleaseRef, reason).WithCommand("micro bindings %s", rel.ReleaseRef)
		}
	}
}

// mayEnter reports that a caller may not run commands in a release, because they could read the account of a production
// service.
func (h *Handler) mayEnter(ctx context.Context, r cloud.ReleaseRef) error {
	if _, ok := h.Store.State().BoundToProduction(r); !ok {
		return nil
	}
	return h.require(ctx, cloud.MayDeploy, cloud.Scope{Group: r.Group, App: r.App, Release: r.N, Staged: true})
}

func (h *Handler) serveCommand(name, summary string, choose func(context.Context, cloud.AppRef, api.Command) (start, string, error)) {
	op := operation(name, "POST /v1/groups/{group}/apps/{app}/"+name, summary)
	op.Description = "Switches to " + api.ExecProtocol + ": frames of a type in one byte, a length in four (big endian) and a payload. " +
		"Needs the headers Connection: Upgrade and Upgrade: " + api.ExecProtocol + "."
	op.Responses = map[string]*huma.Response{"101": {Description: "Frames follow"}}
	op.DefaultStatus = http.StatusSwitchingProtocols
	serve(h, op, func(ctx context.Context, in *commandInput) (*huma.StreamResponse, error) {
		q := requestOf(ctx)
		if !strings.EqualFold(q.r.Header.Get("Upgrade"), api.ExecProtocol) {
			return nil, cloud.Errorf(cloud.Invalid, "%s needs the header Upgrade: %s", name, api.ExecProtocol)
		}
		for _, arg := range append(in.Body.Args, in.Body.Env...) {
			if strings.ContainsRune(arg, 0) {
				return nil, cloud.Errorf(cloud.Invalid, "an argument has a NUL byte")
			}
		}
		if in.Body.Args[0] == "" {
			return nil, cloud.Errorf(cloud.Invalid, "the command is empty")
		}
		do, object, err := choose(ctx, in.ref(), in.Body)
		if err != nil {
			return nil, err
		}
		// No line, no command.
		line := object + " -- " + strings.Join(in.Body.Args, " ")
		record := func(ctx context.Context, result string) error {
			if _, forwarded := ctx.Value(forwardedKey{}).(cloud.Actor); forwarded {
				return nil
			}
			return h.Store.Record(ctx, q.actor, name, line, result)
		}
		if err := record(ctx, "started"); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(huma.Context) {
			h.Log.Info(name, "by", q.actor.Name, "object", object, "request", q.id)
			h.talk(ctx, q, in.Body, func(ctx context.Context, c runtime.Command) (int, error) {
				code, err := do(ctx, c)
				result := fmt.Sprintf("exit %d", code)
				if err != nil {
					result = "failed"
				}
				// The caller may be gone, and the line is written all the same.
				if rerr := record(context.WithoutCancel(ctx), result); rerr != nil {
					h.Log.Error("cannot write the audit line of a command's end", "request", q.id, "err", rerr)
				}
				return code, err
			})
		}}, nil
	})
}

// talk speaks the server's side of api.ExecProtocol. The command ends with the connection.
func (h *Handler) talk(ctx context.Context, q *request, c api.Command, do start) {
	// The server's context ends with the handler that hijacked, and not with the connection.
	ctx, end := h.untilStopped(context.WithoutCancel(ctx))
	defer end()
	conn, rw, err := http.NewResponseController(q.w).Hijack()
	if err != nil {
		h.refuse(q, cloud.Errorf(cloud.Invalid, "this connection cannot be upgraded: use HTTP/1.1"))
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Deadlines of the request are not the session's.
	if conn.SetDeadline(time.Time{}) != nil {
		return
	}
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.ExecProtocol + "\r\nX-Request-Id: " + q.id + "\r\n\r\n")
	if err != nil || rw.Flush() != nil {
		return
	}
	out := api.NewFrameWriter(conn)
	s := session{out: out, resize: make(chan runtime.Size, 1), cancel: cancel}
	rc := runtime.Command{
		Args: c.Args, Env: c.Env, User: c.User, Dir: c.Dir, TTY: c.TTY, Rows: c.Rows, Columns: c.Columns,
		Stdout: out.Stream(api.FrameStdout), Stderr: out.Stream(api.FrameStderr), Resize: s.resize,
	}
	if c.Stdin {
		s.input = newInput(out)
		rc.Stdin = s.input
		defer s.input.close()
	}
	var reading sync.WaitGroup
	reading.Go(func() { s.read(rw.Reader) })
	code, err := do(ctx, rc)
	// The client may be gone: there is nobody to tell.
	if err != nil && (code == notExecutable || code == notFound) {
		// As a shell has it, so that scripts can tell a command that is not there from one that failed.
		fmt.Fprintf(out.Stream(api.FrameStderr), "error: %v\n", err)
		err = nil
	}
	if err != nil {
		if why := ended(ctx); why != nil {
			err = why
		}
		if problem, merr := json.Marshal(h.problem(context.WithValue(context.Background(), requestKey{}, q), err)); merr == nil {
			_ = out.Write(api.FrameError, problem)
		}
	} else {
		_ = out.WriteUint32(api.FrameExit, uint32(int32(code)))
	}
	// Closing with input unread would take back what was written: the client goes first.
	if conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		reading.Wait()
	}
}

// The exit codes of a command that could not be run (POSIX, Shell Command Language, 2.8.2).
const (
	notExecutable = 126
	notFound      = 127
)

// lingerTime is how long a client may take to go once its command has ended.
const lingerTime = 2 * time.Second

// session is what a client sends to a command.
type session struct {
	out    *api.FrameWriter
	input  *input // nil: none is wanted
	resize chan runtime.Size
	cancel func()
}

// read takes the client's frames until it is gone or breaks the rules; both end the command.
func (s *session) read(r *bufio.Reader) {
	defer s.cancel()
	for {
		t, p, err := api.ReadFrame(r)
		if err != nil {
			return
		}
		switch t {
		case api.FrameStdin:
			if s.input != nil && !s.input.put(p) {
				return
			}
		case api.FrameResize:
			size, ok := api.ParseSize(p)
			if !ok {
				return
			}
			select {
			case <-s.resize: // one that nobody has taken is out of date
			default:
			}
			s.resize <- runtime.Size(size)
		case api.FrameStdout, api.FrameStderr, api.FrameExit, api.FrameError, api.FrameGrant:
			return // the server's own
		default:
			return
		}
	}
}

// input is a command's standard input: what came and has not been read, at most api.Window bytes. It
// grants the client as many as were read.
type input struct {
	out    *api.FrameWriter
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	closed bool
	owed   int // read, and not granted yet
}

func newInput(out *api.FrameWriter) *input {
	i := &input{out: out}
	i.cond = sync.NewCond(&i.mu)
	return i
}

// put adds what came; nothing is the end. It is false for more than was granted.
func (i *input) put(p []byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(p) == 0 {
		i.closed = true
	} else if !i.closed {
		i.buf = append(i.buf, p...)
	}
	i.cond.Broadcast()
	return len(i.buf)+i.owed <= api.Window
}

func (i *input) close() { i.put(nil) }

// Read hands on what came, and grants more before it waits.
func (i *input) Read(p []byte) (int, error) {
	i.mu.Lock()
	for len(i.buf) == 0 && !i.closed {
		if owed := i.owed; owed > 0 {
			i.owed = 0
			i.mu.Unlock()
			if err := i.out.WriteUint32(api.FrameGrant, uint32(owed)); err != nil {
				return 0, err
			}
			i.mu.Lock()
			continue
		}
		i.cond.Wait()
	}
	defer i.mu.Unlock()
	if len(i.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, i.buf)
	i.buf = i.buf[n:]
	i.owed += n
	return n, nil
}
