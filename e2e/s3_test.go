package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/testdata/debimage"
)

// s3Servers end the servers that run, by their folder.
var s3Servers = struct {
	sync.Mutex
	stop map[string]func()
}{stop: map[string]func(){}}

// s3server start|stop FOLDER runs an S3 server at $S3 whose buckets are the folders of FOLDER. Its key is "key", with the
// secret "correct-horse".
func s3Command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || args[0] != "start" && args[0] != "stop" {
		ts.Fatalf("usage: s3server start|stop FOLDER")
	}
	dir := ts.MkAbs(args[1])
	s3Servers.Lock()
	stop := s3Servers.stop[dir]
	s3Servers.Unlock()
	if args[0] == "stop" {
		stop()
		return
	}
	program, err := debimage.Program(context.Background(), debimage.Versitygw) // the one of the image
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs("objects-meta"), 0o700))
	ctx, cancel := context.WithCancel(context.Background())
	address := "127.0.0.1:" + ts.Getenv("S3PORT")
	cmd := exec.CommandContext(ctx, program, "--port", address, "--access", "key", "--secret", "correct-horse", "--region", "eu-test-1", "posix", "--sidecar", ts.MkAbs("objects-meta"), dir)
	log, err := os.OpenFile(ts.MkAbs("s3.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		log.Close()
	})
	s3Servers.Lock()
	s3Servers.stop[dir] = stop
	s3Servers.Unlock()
	ts.Defer(stop)
	ts.Setenv("S3", "http://"+address)
	awaitAnswer(ts, http.DefaultClient, ts.Getenv("S3"), log.Name())
}
