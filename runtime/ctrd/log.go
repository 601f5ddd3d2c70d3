package ctrd

import (
	"context"
	"io"
	"log/slog"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	logrusslog "github.com/sirupsen/logrus/hooks/slog"
)

// redirectLogs sends containerd's own log to ours. What containerd warns of is of use to someone who
// debugs it; what it calls an error is a warning to us, for if it matters, a call has failed too.
func redirectLogs(to *slog.Logger) {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.WarnLevel)
	if to.Enabled(context.Background(), slog.LevelDebug-4) {
		l.SetLevel(logrus.DebugLevel)
	}
	l.AddHook(quiet{logrusslog.NewHook(to.With("part", "containerd"), &logrusslog.HookOptions{
		LevelMapper: func(level logrus.Level) slog.Level {
			switch level {
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
		},
	})})
	// A library that meets a fault must not end the process; whoever called it gets the error.
	l.ExitFunc = func(int) {}
	log.L = logrus.NewEntry(l)
}

// quiet leaves out what containerd reports whenever a shim ends in good order.
type quiet struct{ logrus.Hook }

func (q quiet) Fire(e *logrus.Entry) error {
	if e.Message == "copy shim log" {
		return nil
	}
	return q.Hook.Fire(e)
}
