package boltkv

import (
	"log/slog"
	"testing"
	"time"

	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/store/kvtest"
)

func open(dir string) (kv.Engine, error) {
	return Open(Config{Dir: dir, LockTimeout: time.Second, Log: slog.New(slog.DiscardHandler)})
}

func TestMain(m *testing.M) { kvtest.Main(m, open) }

func TestEngine(t *testing.T) { kvtest.Run(t, open) }
