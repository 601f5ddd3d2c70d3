package cloud

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseExternalStore(t *testing.T) {
	for _, tt := range []struct{ text, shown, user, password string }{
		{"etcd://10.0.0.5", "etcd://10.0.0.5:2379/micro", "", ""},
		{"etcd://a:1,b,[::1]:3/x", "etcd://a:1,b:2379,[::1]:3/x", "", ""},
		{"etcds://shop:p%40ss@a/qa/shop/", "etcds://a:2379/qa/shop", "shop", "p@ss"},
		{"etcd://u:p@ss@a", "etcd://a:2379/micro", "u", "p@ss"},
		{"etcd://u@::1", "etcd://[::1]:2379/micro", "u", ""},
	} {
		x, err := ParseExternalStore(tt.text)
		if err != nil || x.String() != tt.shown || x.User != tt.user || x.Password != tt.password {
			t.Errorf("%s: %+v, user %q, password %q, %v", tt.text, x, x.User, x.Password, err)
		}
		if shown := fmt.Sprintf("%v %+v %#v", x, x, x); x.Password != "" && strings.Contains(shown, x.Password) {
			t.Errorf("%s shows its password: %s", tt.text, shown)
		}
	}
	for _, text := range []string{"", "http://a", "etcd://", "etcd://a:0", "etcd://a:99999", "etcd://a,,b", "etcd://:secret@a", "etcd://u:%zzsecret@a", "etcd://u:secret@a/pre fix", "etcd://u:secret@a?x"} {
		if x, err := ParseExternalStore(text); CodeOf(err) != Invalid || strings.Contains(err.Error()+HintOf(err), "secret") {
			t.Errorf("%s: %v, %v", text, x, err)
		}
	}
}
