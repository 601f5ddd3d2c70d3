package cli

import (
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

// Values reach the command byte for byte, whichever way the flag is written and whatever stands around it.
func TestRepeatedFlags(t *testing.T) {
	pem := "-----BEGIN\nl1\nl2\n"
	for _, tt := range []struct{ args, want []string }{
		{[]string{"-e", "HOSTS=a,b"}, []string{"HOSTS=a,b"}},
		{[]string{"-e", "OPTS=-Da=1,DEBUG=2", "--env", "B= x "}, []string{"OPTS=-Da=1,DEBUG=2", "B= x "}},
		{[]string{"-e", "PEM=" + pem}, []string{"PEM=" + pem}},
		{[]string{"--env=A=,", "-e=B=2", "-eC=\t"}, []string{"A=,", "B=2", "C=\t"}},
		{[]string{"-e", "A=1", "-it", "-ie", "B=2"}, []string{"A=1", "B=2"}},
		{[]string{"-e", "", "-e", "A=\xe9"}, []string{"", "A=\xe9"}},
		{[]string{"-e", "sl:::1:::[\"x\"]"}, []string{"sl:::1:::[\"x\"]"}},
		{nil, nil},
	} {
		c := &command{System: System{Env: func(string) (string, bool) { return "", false }}}
		app := c.app()
		var got []string
		find(app.Commands, "exec").Action = func(u *urfave.Context) error {
			got = valuesOf(u, "env")
			return nil
		}
		args, _, err := arrange(app, slices.Concat([]string{"micro", "exec", "shop"}, tt.args, []string{"--", "env"}))
		if err == nil {
			err = app.Run(args)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, %v; want %q", tt.args, got, err, tt.want)
		}
	}
}

// A name with a comma is one file's.
func TestVarsFileWithAComma(t *testing.T) {
	_, errs, _ := offline(t, "push", t.TempDir(), "--app", "a", "--vars-file", "a,b.yml")
	if !strings.Contains(errs, `variables file "a,b.yml" does not exist`) {
		t.Error(errs)
	}
}
