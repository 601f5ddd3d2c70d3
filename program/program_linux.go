package program

import (
	"context"
	"log/slog"
	"os"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/node"
	"github.com/protoduction/micro/runtime/build/child"
	"github.com/protoduction/micro/runtime/engine"
)

// helper carries out what a node starts this same program for: the shim beside containers, and the process
// that builds images. It reports the exit code, and whether it was one of these.
func helper() (code int, ours bool) {
	if engine.ShimMain() {
		return 0, true
	}
	return child.Main(os.Args)
}

// nodeOf returns what runs a node, and what takes one off this machine. It adds to the version what only a node knows.
func nodeOf(version *api.Version) (up func(context.Context, config.Node, func(api.Node)) error, down func(context.Context, config.Node) error) {
	version.Store = node.ReadsStore
	v := *version
	up = func(ctx context.Context, c config.Node, ready func(api.Node)) error {
		return node.Up(ctx, node.Config{Node: c, Version: v, Log: logger()}, ready)
	}
	down = func(ctx context.Context, c config.Node) error {
		return node.Down(ctx, node.Config{Node: c, Version: v, Log: logger()})
	}
	return up, down
}

// logger writes the node's own log to standard error, as MICRO_LOG (debug, info, warn, error) wants it.
func logger() *slog.Logger {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(os.Getenv("MICRO_LOG"))); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
