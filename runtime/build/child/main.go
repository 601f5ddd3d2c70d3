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

// runcState is where runc keeps what it knows of containers, unless told otherwise, as root. What else
// a step needs while it runs is there too: root of a step, who is nobody here, has to get to it.
const runcState = "/run/runc"

const dialTimeout = 10 * time.Second

// Main is the whole program if args (os.Args) ask for the build process: it blocks until the node has
// gone or says stop, and returns the exit code and true. It also is the tools that the build process runs.
// Call it before anything else.
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
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the node does
		stop()
	}()
	if err := isolate(settings); err != nil {
		return err
	}
	if err := bringTools(); err != nil {
		return err
	}
	// What ADD fetches with: its own 30 s are long to wait for a wall.
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

// isolate finishes what the namespaces that the node started us in need: mounts of ours must not show
// outside, /proc must be that of our own processes, by which runc finds its containers, and what runc
// remembers of them must not outlive them.
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

// useResolvers has this process ask the name servers that its network can reach.
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
	// A host without the file resolves nothing either.
	if err := unix.Mount(path, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("name servers: mount over /etc/resolv.conf: %w", err)
	}
	return nil
}
