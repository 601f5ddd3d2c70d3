package apps

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/testdata/debimage"
)

// Every app is in the README, and every Dockerfile's base can be made.
func TestEveryAppIsListed(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("*/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) != len(found) {
		t.Errorf("%d folders with a Dockerfile, %d embedded", len(folders), len(found))
	}
	for _, entry := range found {
		app := entry.Name()
		if !strings.Contains(string(readme), "| `"+app+"` |") {
			t.Errorf("%s is not in README.md", app)
		}
		dockerfile, err := os.ReadFile(filepath.Join(app, "Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		from, _, _ := strings.Cut(string(dockerfile), "\n")
		if base := baseOf(t, app); base == "" && from != "FROM scratch" ||
			base != "" && !strings.Contains(base, strings.ReplaceAll(strings.TrimPrefix(from, "FROM "), "/", "-")) {
			t.Errorf("%s: %q, but its base is %q", app, from, base)
		}
	}
}

// baseOf returns the archive of the image that the app's Dockerfile begins with, and "" for hello-go.
func baseOf(t testing.TB, app string) string {
	t.Helper()
	preset := map[string]string{
		"shop": "python", "worker": "python", "chat": "node", "nginxish": "nginx",
		"crash": "base", "deaf": "base", "elsewhere": "base", "ledger": "python-db", "tenant": "python-db",
	}[app]
	if preset == "" {
		return ""
	}
	recipe, _ := debimage.Preset(preset)
	image, err := debimage.Build(t.Context(), recipe, false)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestHelloEndsItsWebSocket(t *testing.T) {
	address, hello := startHello(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: hello\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("Sec-WebSocket-Accept: %q", got)
	}
	conn.Write([]byte{0x81, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2})
	expect(t, in, "\x81\x02hi")
	hello.Process.Signal(syscall.SIGTERM)
	expect(t, in, "\x88\x02\x03\xe9")
	if err := hello.Wait(); err != nil {
		t.Errorf("hello: %v", err)
	}
}

func expect(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	for i := range got {
		var err error
		if got[i], err = in.ReadByte(); err != nil {
			t.Fatalf("got %q, then %v; want %q", got[:i], err, want)
		}
	}
	if string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func startHello(t *testing.T) (address string, hello *exec.Cmd) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hello")
	if err := buildHello(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	hello = exec.Command(program)
	hello.Env = []string{"PORT=0"}
	out, err := hello.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hello.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hello.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(strings.TrimSpace(strings.TrimPrefix(line, "hello: listening on ")))
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port), hello
}
