package containers

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/protoduction/micro/runtime/containers/testdata/quota"
)

// TestKernelQuotas checks that containers which exhaust the kernel's quotas affect neither the host nor other groups.
func TestKernelQuotas(t *testing.T) {
	r := newRig(t)
	exhaust := func(tenant uint32) string {
		t.Helper()
		c := r.container("exhaust")
		c.Memory, c.Tenant, c.Shim = 256<<20, tenant, strconv.Itoa(int(tenant))
		r.start(c)
		var text string
		eventually(t, "all quotas are used up", func() bool {
			b, err := os.ReadFile(c.Log)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
			return strings.HasSuffix(text, "serving\n")
		})
		return text
	}
	first := exhaust(3)
	assertLines(t, first, "terminals 64", "asynchronous I/O 0 function not implemented")
	for _, q := range quota.All {
		if err := q.Take(0); err != nil {
			t.Errorf("the host's %s: %v", q.Name, err)
		}
	}
	if second := exhaust(4); second != first {
		t.Errorf("another group gets %s", second)
	}
}
