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
		{": [2/2] COPY --from=build /nope .", `failed to compute cache key: failed to calculate checksum of ref a::b: "/nope": not found`, "of the stage or image"},
		{": [2/2] RUN --mount=type=secret,id=npm cat /run/secrets/npm", "secret npm: not found", "micro push --secret id=npm,src=FILE"},
		{": [501/510] COPY a /", "this step makes layer 501 of the image, and the kernel stacks 500 at most", "join RUN steps"},
		{"", "target stage \"nope\" could not be found", "name a stage"},
		{": [2/2] RUN x", "runc run failed: exec: \"x\": executable file not found in $PATH", "correct the Dockerfile"},
		{": [2/2] ADD https://example.com/x /x", "invalid response status 404", "the server does not give"},
		{": [2/2] ADD x /x", "something: not found", "correct the Dockerfile"},
		{"", "network.host is not allowed", "correct the Dockerfile"},
	} {
		if got := hintFor(tt.step, tt.text); !strings.Contains(got, tt.hint) {
			t.Errorf("%s: %s: hint %q, want %q", tt.step, tt.text, got, tt.hint)
		}
	}
}

func TestCause(t *testing.T) {
	for text, want := range map[string]string{
		`failed to compute cache key: failed to calculate checksum of ref a::b: "/nope": not found`: `"/nope": not found`,
		`failed to calculate checksum of ref a::b: failed to solve: gone`:                           `gone`,
		"dockerfile parse error on line 1: unknown instruction: FORM":                               "dockerfile parse error on line 1: unknown instruction: FORM",
	} {
		if got := causeIn(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
