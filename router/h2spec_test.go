package router

import (
	"bytes"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// misses are what the library does otherwise than h2spec wants, with the reason.
var misses = map[string]string{
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                                                                "it ends a connection whose settings name one thing twice: nobody but a flood does",
	"Sends a HEADERS frame that contains the connection-specific header field":                                                             "a malformed request may be answered before its stream is reset (RFC 9113, section 8.1.1): it gets 400",
	`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`:                                         "the same",
	`Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length`:                      "the same, where the answer is ready before the reset",
	`Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length`: "the same, where the answer is ready before the reset",
	"Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":                                   "a request may be answered before its end, and its stream is closed then (RFC 9113, section 8.1)",
}

// TestH2spec: a listener for TLS passes the conformance test of HTTP/2, but for what has a reason.
func TestH2spec(t *testing.T) {
	program := filepath.Join(t.TempDir(), "h2spec")
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", program, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = "testdata/h2spec"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, out)
	}
	f := newFront(t, Config{})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	_, port, err := net.SplitHostPort(f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, Protocols()...)}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-h", "127.0.0.1", "-p", port, "-t", "-k", "-o", "5").CombinedOutput()
	tests := regexp.MustCompile(`(\d+) tests, \d+ passed, 0 skipped, \d+ failed`).FindSubmatch(out)
	if tests == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n, err := strconv.Atoi(string(tests[1])); err != nil || n < 145 {
		t.Errorf("only %d tests ran", n)
	}
	_, failures, _ := bytes.Cut(out, []byte("Failures:"))
	for _, miss := range regexp.MustCompile(`× \d+: (.*)`).FindAllSubmatch(failures, -1) {
		if misses[string(bytes.TrimSpace(miss[1]))] == "" {
			t.Errorf("%s\n%s", miss[1], failures)
		}
	}
	t.Logf("%s", tests[0])
}
