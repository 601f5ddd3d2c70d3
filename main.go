// Micro is a cloud in one binary: push a folder, get an address that works.
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cli"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/node"
	"github.com/protoduction/micro/runtime/build/child"
	"github.com/protoduction/micro/runtime/engine"
)

// version, commit and built are set by the linker for a release.
var version, commit, built string

func main() {
	// The same program is also the shim beside containers and the process that builds images.
	if engine.ShimMain() {
		return
	}
	if code, ours := child.Main(os.Args); ours {
		os.Exit(code)
	}
	v := about()
	os.Exit(cli.Main(cli.System{
		Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Version: v,
		Up: func(ctx context.Context, c config.Node, ready func(api.Node)) error {
			return node.Up(ctx, node.Config{Node: c, Version: v, Log: logger()}, ready)
		},
		Down: func(ctx context.Context, c config.Node) error {
			return node.Down(ctx, node.Config{Node: c, Version: v, Log: logger()})
		},
	}))
}

// logger writes the node's own log to standard error, as MICRO_LOG (debug, info, warn, error) wants it.
func logger() *slog.Logger {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(os.Getenv("MICRO_LOG"))); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// about is what this program is.
func about() api.Version {
	v := api.Version{Version: version, Commit: commit, Built: built, API: "v1"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "0.1.0-dev"
	}
	return v
}
