package router

import (
	"bytes"
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs all tests with buffers that are filled with rubbish when they are given back: whoever still
// looks into one sees it.
func TestMain(m *testing.M) {
	flag.Parse()
	if b := flag.Lookup("test.bench"); b == nil || b.Value.String() == "" {
		rubbish := bytes.Repeat([]byte("<given back>"), 10_000)
		givenBack = func(b []byte) { copy(b, rubbish) }
	}
	goleak.VerifyTestMain(m)
}
