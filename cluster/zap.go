package cluster

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap returns a logger for etcd that writes errors for debugging, and what ends etcd, to log. etcd ends the process where it can't
// go on, for example when the disk is full. Here only the goroutine ends and failed is closed: the node goes on routing.
func newZap(log *slog.Logger, end *fatal) *zap.Logger {
	return zap.New(core{log}, zap.WithFatalHook(end), zap.WithPanicHook(end))
}

// fatal is how an etcd has failed.
type fatal struct {
	once   sync.Once
	failed chan struct{} // closed when a part of etcd could not go on
	// outdated says that the leader knows of entries in this etcd's log that are not there.
	outdated atomic.Bool
}

// OnWrite implements zapcore.CheckWriteHook.
func (f *fatal) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	if strings.HasPrefix(e.Message, "tocommit(") { // of raft, whose panics have no other mark
		f.outdated.Store(true)
	}
	f.once.Do(func() { close(f.failed) })
	zapcore.WriteThenGoexit.OnWrite(e, fields)
}

// core is a zapcore.Core on a slog.Logger.
type core struct{ log *slog.Logger }

func (c core) Enabled(l zapcore.Level) bool             { return l >= zapcore.ErrorLevel }
func (c core) With(fields []zapcore.Field) zapcore.Core { return core{c.log.With(attrs(fields)...)} }
func (c core) Sync() error                              { return nil }

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelDebug // what etcd calls errors are mostly other nodes that don't answer
	if e.Level > zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, "etcd: "+e.Message, attrs(fields)...)
	return nil
}

func attrs(fields []zapcore.Field) (out []any) {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	for k, v := range m.Fields {
		out = append(out, k, v)
	}
	return out
}
