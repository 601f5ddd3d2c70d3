package child

import (
	"strings"
	"testing"
)

func TestHints(t *testing.T) {
	for _, tt := range []struct{ step, text, hint string }{
		{": [1/2] FROM nothing", "failed to resolve source metadata for docker.io/library/nothing", "its registry gave none"},
		{": [internal] load metadata for x", "dial tcp: lookup x: no such host", "its registry gave none"},
		{": [2/2] ADD http://127.0.0.1/x /x", `Get "http://127.0.0.1/x": dial tcp 127.0.0.1:80: connect: connection refused`, "network is its own"},
		{": [2/2] COPY node_modules .", `failed to calculate checksum of ref a::b: "/node_modules": not found`, ".gitignore"},
		{"", "dockerfile parse error on line 1: unknown instruction: FORM", "at that line"},
		{"", "network.host is not allowed", "correct the Dockerfile"},
	} {
		if got := hintFor(tt.step, tt.text); !strings.Contains(got, tt.hint) {
			t.Errorf("%s: %s: hint %q, want %q", tt.step, tt.text, got, tt.hint)
		}
	}
}
