package images

import (
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestExposedPorts(t *testing.T) {
	f := func(exposed, history, want string) {
		t.Helper()
		set := map[string]struct{}{}
		for p := range strings.FieldsSeq(exposed) {
			set[p] = struct{}{}
		}
		var steps []ocispec.History
		for s := range strings.SplitSeq(history, "; ") {
			steps = append(steps, ocispec.History{CreatedBy: s})
		}
		if got := strings.Trim(fmt.Sprint(exposedPorts(set, steps)), "[]"); got != want {
			t.Errorf("%s, %s: %s, want %s", exposed, history, got, want)
		}
	}
	f("", "", "")
	f("8080/tcp 80 53/udp 9000-9002/tcp 0 99999 x", "CMD x", "80 8080 9000 9001 9002")
	// The image's own comes before that of its base, whatever the numbers.
	f("80/tcp 8080/tcp", "EXPOSE [80/tcp]; CMD x; COPY . . # buildkit; EXPOSE [8080/tcp]; CMD y", "8080 80")
	f("80/tcp 8080/tcp", "EXPOSE map[80/tcp:{}]; WORKDIR /app; EXPOSE map[8080/tcp:{}]", "8080 80")
	f("5432/tcp 3000/tcp", "/bin/sh -c #(nop)  EXPOSE 3000; /bin/sh -c #(nop)  CMD [\"x\"]; /bin/sh -c #(nop)  EXPOSE 5432/tcp", "5432 3000")
	// Its own in the order in which they are written.
	f("9090/tcp 8080/tcp", "EXPOSE [9090/tcp 8080/tcp]", "9090 8080")
	f("9090/tcp 8080/tcp 70/tcp", "EXPOSE [70/tcp]; ENV A=b; EXPOSE [9090/tcp]; EXPOSE [8080/tcp 53/udp]; CMD x", "9090 8080 70")
	f("9000/tcp", "EXPOSE [53/udp 9000/tcp]", "9000")
	// What the history says and the config does not have is not exposed.
	f("80/tcp", "EXPOSE [8080/tcp]; RUN echo EXPOSE 80", "80")
}
