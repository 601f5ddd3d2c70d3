package doctor

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
)

func TestEscapes(t *testing.T) {
	for _, c := range []struct{ runc, kernel, want string }{
		{"1.5.2", "6.18.0", ""},
		{"1.1.5+ds1", "6.18.0", "CVE-2024-21626 CVE-2025-31133"},
		{"1.1.12", "6.18.0", "CVE-2025-31133"},
		{"1.2.7", "6.18.0", "CVE-2025-31133"},
		{"1.2.8", "6.18.0", ""},
		{"1.3.2", "6.18.0", "CVE-2025-31133"},
		{"1.3.3", "6.18.0", ""},
		{"1.4.0", "6.18.0", ""},
		{"1.0.0-rc6", "6.18.0", "CVE-2024-21626 CVE-2025-31133"},
		{"1.5.2", "5.19.0", "CVE-2023-0386 CVE-2023-32233 CVE-2024-1086"},
		{"1.5.2", "5.10.0-28-amd64", "CVE-2022-0185 CVE-2022-0847 CVE-2023-32233 CVE-2024-1086"},
		{"1.5.2", "6.1.76", ""},
		{"1.5.2", "6.1.75-1", "CVE-2024-1086"},
		{"1.5.2", "6.7.2-arch1", "CVE-2024-1086"},
		{"1.5.2", "6.8", ""},
		{"", "what", ""},
		{"unknown", "", ""},
	} {
		got := escapesOf(c.runc, c.kernel)
		if (got.Status == api.OK) != (c.want == "") {
			t.Errorf("runc %s, Linux %s: %s %s", c.runc, c.kernel, got.Status, got.Text)
		}
		for id := range strings.FieldsSeq(c.want) {
			if !strings.Contains(got.Text, id) {
				t.Errorf("runc %s, Linux %s: no %s in %s", c.runc, c.kernel, id, got.Text)
			}
		}
		if n := strings.Count(got.Text, " has "); n != len(strings.Fields(c.want)) {
			t.Errorf("runc %s, Linux %s: %d faults in %s", c.runc, c.kernel, n, got.Text)
		}
	}
}
