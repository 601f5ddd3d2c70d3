package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/store/boltkv"
)

func TestDescriptors(t *testing.T) {
	for _, c := range []struct {
		open   int
		fileNr string
		status api.CheckStatus
		text   string
	}{
		{3, "2000\t0\t100000\n", api.OK, "micro has 3 of"},
		{3, "99000\t0\t100000\n", api.Warn, "the machine has 99000 of 100000 files open"},
		{3, "99000\t0\t9223372036854775807\n", api.OK, "micro has 3 of"},
		{3, "nonsense", api.Warn, "cannot count the machine's open files"},
	} {
		proc := t.TempDir()
		for _, dir := range []string{"self/fd", "sys/fs"} {
			if err := os.MkdirAll(filepath.Join(proc, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for n := range c.open {
			if err := os.WriteFile(filepath.Join(proc, "self/fd", fmt.Sprint(n)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(proc, "sys/fs/file-nr"), []byte(c.fileNr), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := checkDescriptors(proc); got.Status != c.status || !strings.Contains(got.Text, c.text) {
			t.Errorf("%q: %+v, want %s %s", c.fileNr, got, c.status, c.text)
		}
	}
	if got := checkDescriptors("/proc"); got.Status == "" || strings.Contains(got.Text, "cannot") {
		t.Errorf("of this machine: %+v", got)
	}
}

func TestStoreLoss(t *testing.T) {
	for ago, told := range map[time.Duration]bool{time.Hour: true, 29 * 24 * time.Hour: true, 31 * 24 * time.Hour: false} {
		d := Doctor{Config{Loss: func() (boltkv.Loss, bool) { return boltkv.Loss{At: time.Now().Add(-ago), Rev: 7}, true }}}
		if got := d.checkStore(); (got.Status == api.Warn && strings.Contains(got.Text, "after revision 7")) != told {
			t.Errorf("%s ago: %+v", ago, got)
		}
	}
	d := Doctor{Config{Loss: func() (boltkv.Loss, bool) { return boltkv.Loss{}, false }}}
	if got := d.checkStore(); got.Status != api.OK {
		t.Errorf("%+v", got)
	}
}
