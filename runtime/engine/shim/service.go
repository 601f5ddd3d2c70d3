package shim

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	ctdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/ttrpc"
)

// service is containerd's task service with three differences: the files that containers are made of (rootfs.go), the end
// of containers whose node has lost its lease (fence.go), and the logs. The shim writes the logs itself, so that it can bound
// them, and goes on where a disk is full. containerd's own copying would end with the first error, and the app would wait for
// ever to write to a pipe that nobody reads.
type service struct {
	taskAPI.TTRPCTaskService
	temp string // folder for mounts that last for a moment

	fence *fence
	mu    sync.Mutex               // guards logs
	logs  map[string]chan struct{} // by container: closed when all of its output is written
}

var _ ctdshim.TTRPCService = (*service)(nil)

// RegisterTTRPC makes this service the one that is served, in place of the one inside it.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskAPI.RegisterTTRPCTaskService(server, s)
	return nil
}

// Create makes a container of files that have no power of their own, and gives it its secrets.
func (s *service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (_ *taskAPI.CreateTaskResponse, err error) {
	forget, err := addSecrets(r.Bundle, r.ID)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	rootfs, release, err := prepareRootfs(r.Rootfs, s.temp)
	if err != nil {
		return nil, err
	}
	r.Rootfs = rootfs
	response, err := s.createLogged(ctx, r)
	if err == nil {
		s.fence.add(r.Bundle, r.ID)
	}
	if rerr := release(); rerr != nil && err == nil {
		// The container stands on the same mount elsewhere. What is left here the node takes away.
		fmt.Fprintln(os.Stderr, "micro shim: the container's files:", rerr)
	}
	return response, err
}

// Start starts a container or a process in it. A container that is fenced does not start without its node's lease.
func (s *service) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	if r.ExecID == "" {
		if err := s.fence.mayStart(r.ID); err != nil {
			return nil, err
		}
	}
	return s.TTRPCTaskService.Start(ctx, r)
}

// createLogged has containerd's service copy the container's output to a pipe, and writes what comes out to the log.
func (s *service) createLogged(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	u, err := url.Parse(r.Stdout)
	if err != nil || u.Scheme != "file" || r.Terminal {
		return s.TTRPCTaskService.Create(ctx, r)
	}
	log, err := openLogFile(u.Path)
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		log.close()
		return nil, fmt.Errorf("the container's log: %w", err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer out.Close()
		log.copy(out)
	}()
	// The pipe by the name that it has in this process: containerd's service opens it anew, as it does FIFOs.
	pipe := fmt.Sprintf("/proc/self/fd/%d", in.Fd())
	r.Stdout, r.Stderr = pipe, pipe
	response, err := s.TTRPCTaskService.Create(ctx, r)
	in.Close()
	if err == nil {
		s.mu.Lock()
		s.logs[r.ID] = written
		s.mu.Unlock()
	}
	return response, err
}

// lastWords is how long the last of a container's output may take to be written once its processes are gone.
const lastWords = 2 * time.Second

// Delete returns when the container's output is written.
func (s *service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	response, err := s.TTRPCTaskService.Delete(ctx, r)
	if err != nil || r.ExecID != "" {
		return response, err
	}
	s.fence.remove(r.ID)
	s.mu.Lock()
	written := s.logs[r.ID]
	delete(s.logs, r.ID)
	s.mu.Unlock()
	if written != nil {
		select {
		case <-written:
		case <-time.After(lastWords):
		}
	}
	return response, nil
}
