package shim

import (
	"testing"

	"github.com/protoduction/micro/runtime/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m, nil) }
