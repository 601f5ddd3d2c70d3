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

// misses are what the router does otherwise than h2spec wants, with the reason. They depend on which is faster: what h2spec
// sends as the end of a request, or the answer to its beginning.
var misses = map[string]string{
	"Sends a HEADERS frame that contains a pseudo-header field as trailers":                                                                answeredBefore,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length`:                      answeredBefore,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length`: answeredBefore,
	"Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":                                   answeredBefore,
	"Sends a second HEADERS frame without the END_STREAM flag":                                                                             answeredBefore,
}

// answeredBefore is a reason for a miss.
const answeredBefore = "the router has no route for h2spec's host, and answers before the request's end, after which the stream is closed (RFC 9113, section 8.1)"

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
