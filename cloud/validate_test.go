package cloud

import (
	"strings"
	"testing"
)

// What tells an instance of itself is refused, not dropped.
func TestCheckEnvName(t *testing.T) {
	for name, says := range map[string]string{
		"A": "", "_a.b-c": "", "PORT": "", "MICRO_APPS": "", "MICRO_TARGET": "", "VCAP": "",
		"": "begins with", "1A": "begins with", "A=B": "begins with",
		"MICRO_APP": "micro sets it itself", "MICRO_INSTANCE": "micro sets it itself", "VCAP_SERVICES": "micro sets it itself",
		"CF_INSTANCE_INDEX": "micro sets it itself", "CF_INSTANCE_X": "micro sets it itself",
	} {
		err := CheckEnvName(name)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", name, err, says)
		}
	}
}

// A binding cannot take a variable that programs need for something else.
func TestCheckBoundVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"DATABASE_URL": true, "WEIRD_DB": true, "PATH": false, "PORT": false, "HOME": false, "LD_PRELOAD": false, "VCAP_SERVICES": false, "a b": false, "": false,
	} {
		if err := CheckBoundVariable(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}
