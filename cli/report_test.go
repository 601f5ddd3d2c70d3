package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// An error shows the beginning of a line that has no end, as bundlers and minified scripts print them.
func TestReportLongLines(t *testing.T) {
	var out bytes.Buffer
	c := &command{System: System{Stderr: &out}}
	code := c.report(cloud.Errorf(cloud.DeployFailed, "RUN make exited with code 2\n%s\nlast", strings.Repeat("x", 100_000)).WithHint("look"))
	lines := strings.Split(out.String(), "\n")
	if code != 7 || len(lines) != 5 || len(lines[1]) > longest+20 || lines[2] != "error: last" || lines[3] != "hint: look" {
		t.Errorf("exit code %d, %d lines, the second of %d bytes", code, len(lines), len(lines[1]))
	}
}
