package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	logrusslog "github.com/sirupsen/logrus/hooks/slog"
)

// containerd has one logger a process, which is set once and writes to whom relay leads.
type relay struct {
	to  atomic.Pointer[slog.Logger]
	set sync.Once
}

var containerdLog relay

// redirect sends containerd's own log to ours. What containerd warns of is of use to someone who
// debugs it; what it calls an error is a warning to us, for if it matters, a call has failed too.
func (r *relay) redirect(to *slog.Logger) {
	r.to.Store(to.With("part", "containerd"))
	r.set.Do(func() {
		l := logrus.New()
		l.SetOutput(io.Discard)
		l.AddHook(r)
		// A library that meets a fault must not end the process; whoever called it gets the error.
		l.ExitFunc = func(int) {}
		log.L = logrus.NewEntry(l)
	})
	log.L.Logger.SetLevel(logrus.WarnLevel)
	if to.Enabled(context.Background(), slog.LevelDebug-4) {
		log.L.Logger.SetLevel(logrus.DebugLevel)
	}
}

// Levels are all that redirect lets pass.
func (r *relay) Levels() []logrus.Level { return logrus.AllLevels }

// Fire hands an entry on, but for what containerd reports whenever a shim, or it itself, ends in good order.
func (r *relay) Fire(e *logrus.Entry) error {
	if e.Message == "copy shim log" || closing(e) {
		return nil
	}
	return logrusslog.NewHook(r.to.Load(), &logrusslog.HookOptions{LevelMapper: level}).Fire(e)
}

// closing says whether all that an entry has to tell is that the collection of garbage, which goes on by
// itself, met a store that was closed.
func closing(e *logrus.Entry) bool {
	err, _ := e.Data[logrus.ErrorKey].(error)
	switch e.Message {
	case "garbage collection failed", "failed to finish collection context":
		return err != nil && (errors.Is(err, os.ErrClosed) || strings.Contains(err.Error(), "database not open"))
	}
	return false
}

func level(of logrus.Level) slog.Level {
	switch of {
	case logrus.PanicLevel, logrus.FatalLevel:
		return slog.LevelError
	case logrus.ErrorLevel:
		return slog.LevelWarn
	case logrus.WarnLevel:
		return slog.LevelDebug
	case logrus.InfoLevel, logrus.DebugLevel, logrus.TraceLevel:
		return slog.LevelDebug - 4
	}
	return slog.LevelDebug
}
