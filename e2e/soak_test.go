//go:build soak

package e2e

import (
	"cmp"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestSoak runs the scripts in testdata/soak, which take long. FAULTS is how many faults there are, and SEED their order.
func TestSoak(t *testing.T) {
	params := scriptsIn("testdata/soak")
	params.Setup = func(env *testscript.Env) error {
		env.Setenv("FAULTS", cmp.Or(os.Getenv("FAULTS"), "200"))
		env.Setenv("SEED", os.Getenv("SEED"))
		return setUpNode(env)
	}
	testscript.Run(t, params)
}
