package api

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestCheckUTF8(t *testing.T) {
	index := 3
	for _, tt := range []struct {
		body any
		says string
	}{
		{Command{Args: []string{"printf", "caf\xe9"}, Index: &index}, `args[1]: "caf\xe9" is not UTF-8`},
		{Command{Env: []string{"A=\xff"}}, `env[0]: the value of A is not UTF-8`},
		{PushRequest{Spec: cloud.PushSpec{Env: map[string]string{"PEM": "\x80"}}}, `spec.env.PEM: the value is not UTF-8`},
		{PushRequest{Source: &Source{Args: map[string]string{"\xe9": ""}}}, `source.args: "\xe9"`},
		{EnvChange{Set: map[string]string{"A": "é\U0001F600\n\x01"}}, ""},
		{struct{ B []byte }{[]byte{0xff}}, ""},
		{nil, ""},
	} {
		err := checkUTF8(tt.body)
		if tt.says == "" && err != nil || tt.says != "" && (cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%v: %v, want %s", tt.body, err, tt.says)
		}
	}
}
