package runtime

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestCheckUser(t *testing.T) {
	for user, ok := range map[string]bool{
		"": true, "app": true, "app:staff": true, "0": true, "65535": true, "65535:65535": true,
		"65536": false, "1000:65536": false, "197609": false, "197609:app": false, "4294967296": false,
	} {
		err := Image{Name: "shop", User: user}.CheckUser()
		if (err == nil) != ok || err != nil && (cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), user) || cloud.HintOf(err) == "") {
			t.Errorf("%q: %v", user, err)
		}
	}
}
