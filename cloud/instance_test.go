package cloud

import "testing"

func TestDescribe(t *testing.T) {
	f := func(e Exit, reason, want string) {
		t.Helper()
		if got := e.Describe(reason); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
	f(Exit{Code: 3}, "", "exited with code 3")
	f(Exit{Code: 135}, "", "was ended by signal 7 (bus error)")
	f(Exit{Code: 139}, "", "was ended by signal 11 (segmentation fault)")
	f(Exit{Code: 137, OOM: true}, "", "ran out of memory: it has been killed at its limit")
	f(Exit{Code: 1}, "listens nowhere", "listens nowhere")
	f(Exit{Code: 250}, "", "exited with code 250")
	f(Exit{Code: -1}, "", "ended in an unknown way")
}
