package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/build"
)

// runcState is runc's default folder for the state of containers. Other files that a running step needs are there, too,
// because the root user of a step, which is an unprivileged user on the host, must have access to them.
const runcState = "/run/runc"

const dialTimeout = 10 * time.Second

// Main runs the build process, or a tool of it, if args (os.Args) request that. It blocks until the node ends or stops it,
// and returns the exit code and true. Call it before anything else.
func Main(args []string) (code int, ours bool) {
	if len(args) > 0 && filepath.Base(args[0]) == xzName {
		if err := unxz(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "xz:", err)
			return 1, true
		}
		return 0, true
	}
	if len(args) != 2 || args[1] != build.ChildArg {
		return 0, false
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "build process:", err)
		return 1, true
	}
	return 0, true
}

func run() error {
	settings, err := build.ReadSettings(os.Stdin)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the node
		stop()
	}()
	if err := isolate(settings); err != nil {
		return err
	}
	if err := bringTools(); err != nil {
		return err
	}
	// ADD uses this transport. Its default of 30 s is long if the firewall drops the connection.
	http.DefaultTransport.(*http.Transport).DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	f := os.NewFile(build.ListenerFD, "builds")
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("take over the socket: %w", err)
	}
	f.Close()
	s, err := newServer(ctx, settings, log)
	if err != nil {
		return err
	}
	defer s.close()
	return s.serve(ctx, l)
}

// isolate completes the namespaces of this process. Its mounts must not be visible outside, /proc must show its own
// processes because runc finds containers there, and runc's state must not outlive the containers.
func isolate(s build.Settings) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("started without a process namespace of its own")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll(runcState, 0o700); err != nil {
		return fmt.Errorf("runc's folder: %w", err)
	}
	if err := unix.Mount("runc", runcState, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"); err != nil {
		return fmt.Errorf("mount runc's folder: %w", err)
	}
	return useResolvers(s)
}

// useResolvers makes this process use the name servers that its network can reach.
func useResolvers(s build.Settings) error {
	if len(s.Resolvers) == 0 {
		return nil
	}
	var text strings.Builder
	for _, r := range s.Resolvers {
		fmt.Fprintf(&text, "nameserver %s\n", r)
	}
	path := filepath.Join(os.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("name servers: %w", err)
	}
	// Without the file the host resolves no names, either.
	if err := unix.Mount(path, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("name servers: mount over /etc/resolv.conf: %w", err)
	}
	return nil
}
