package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// Command is a process to run in an app: inside an instance (exec) or in a container of its own (run).
type Command struct {
	Release  int               `json:"release,omitempty" doc:"Missing: the current one"`
	Process  cloud.ProcessName `json:"process,omitempty" doc:"Missing: web"`
	Index    *int              `json:"index,omitempty" minimum:"0" doc:"Of the instance; missing: any that is ready"`
	Instance cloud.InstanceID  `json:"instance,omitempty" doc:"The instance by its ID"`
	Args     []string          `json:"args" minItems:"1" maxItems:"10000" doc:"The command and its arguments"`
	Env      []string          `json:"env,omitempty" maxItems:"1000" doc:"K=V"`
	User     string            `json:"user,omitempty"`
	Dir      string            `json:"dir,omitempty"`
	Stdin    bool              `json:"stdin,omitempty" doc:"Input will be sent"`
	TTY      bool              `json:"tty,omitempty" doc:"Give it a terminal; all output is stdout then"`
	Rows     uint16            `json:"rows,omitempty"`
	Columns  uint16            `json:"columns,omitempty"`
	Memory   int64             `json:"memory,omitempty" doc:"Of run: limit in bytes; missing: as the process has it"`
}

// Streams are the ends of a command's on this side. Nil Stdin is none; nil writers drop what comes.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Resize         <-chan Size
}

// Exec runs a command in an instance and returns its exit code. When ctx ends, so does the command. A
// Read of Stdin that is under way then is left behind.
func (c *Client) Exec(ctx context.Context, app cloud.AppRef, cmd Command, s Streams) (int, error) {
	return c.command(ctx, appPath(app, "exec"), cmd, s)
}

// Run runs a command in a container of its own and returns its exit code. When ctx ends, so does the command.
func (c *Client) Run(ctx context.Context, app cloud.AppRef, cmd Command, s Streams) (int, error) {
	return c.command(ctx, appPath(app, "run"), cmd, s)
}

func (c *Client) command(ctx context.Context, path string, cmd Command, s Streams) (int, error) {
	cmd.Stdin = s.Stdin != nil
	req, err := c.request(ctx, http.MethodPost, path, nil, cmd)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", ExecProtocol)
	resp, err := c.do(req)
	if err != nil {
		return 0, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		resp.Body.Close()
		return 0, cloud.Errorf(cloud.Internal, "the server did not switch to %s", ExecProtocol)
	}
	return talk(ctx, conn, s)
}

// talk speaks the client's side of ExecProtocol.
func talk(ctx context.Context, conn io.ReadWriteCloser, s Streams) (int, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	ended := make(chan struct{})
	credit := newCredit(Window)
	defer conn.Close()
	defer close(ended)
	defer credit.close()
	out := NewFrameWriter(conn)
	if s.Stdin != nil {
		go sendInput(out, s.Stdin, credit)
	}
	if s.Resize != nil {
		go func() {
			for {
				select {
				case size, ok := <-s.Resize:
					if !ok || out.Write(FrameResize, size.Bytes()) != nil {
						return
					}
				case <-ended:
					return
				}
			}
		}()
	}
	for {
		t, p, err := ReadFrame(conn)
		if ctx.Err() != nil {
			return 0, cloud.Errorf(cloud.Interrupted, "interrupted: %w", ctx.Err())
		}
		if err != nil {
			return 0, cloud.Errorf(cloud.Unavailable, "the connection to the command was lost: %w", err)
		}
		switch t {
		case FrameStdout:
			err = write(s.Stdout, p)
		case FrameStderr:
			err = write(s.Stderr, p)
		case FrameGrant:
			n, _ := Uint32(p)
			credit.add(int(n))
		case FrameExit:
			n, ok := Uint32(p)
			if !ok {
				return 0, cloud.Errorf(cloud.Internal, "the command's exit code cannot be read")
			}
			return int(int32(n)), nil
		case FrameError:
			var problem Problem
			if json.Unmarshal(p, &problem) != nil {
				return 0, cloud.Errorf(cloud.Internal, "the command failed, and the reason cannot be read")
			}
			return 0, problem.Err()
		case FrameStdin, FrameResize:
			// The client's own.
		}
		if err != nil {
			return 0, err // whoever reads our output is gone
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// sendInput sends what r has, within the credit, and its end.
func sendInput(out *FrameWriter, r io.Reader, c *credit) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			some := c.take(len(p))
			if some == 0 || out.Write(FrameStdin, p[:some]) != nil {
				return
			}
			p = p[some:]
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				// A failure to send shows where frames are read.
				_ = out.Write(FrameStdin, nil)
			}
			return
		}
	}
}

// credit is how many bytes may be sent.
type credit struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int
	closed bool
}

func newCredit(n int) *credit {
	c := &credit{n: n}
	c.cond = sync.NewCond(&c.mu)
	return c
}

// take waits for credit and returns how much of want there is; 0 after close.
func (c *credit) take(want int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.n == 0 && !c.closed {
		c.cond.Wait()
	}
	if c.closed {
		return 0
	}
	n := min(want, c.n)
	c.n -= n
	return n
}

func (c *credit) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	c.cond.Broadcast()
}

func (c *credit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.cond.Broadcast()
}
