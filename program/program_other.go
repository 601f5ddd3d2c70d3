//go:build !linux

package program

import (
	"context"
	"runtime"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

func helper() (code int, ours bool) { return 0, false }

// nodeOf refuses: containers need Linux.
func nodeOf(*api.Version) (up func(context.Context, config.Node, func(api.Node)) error, down func(context.Context, config.Node) error) {
	refused := cloud.Errorf(cloud.Invalid, "a node needs Linux, and this is %s", runtime.GOOS).WithHint("set MICRO_TARGET to a node elsewhere, for example ssh://root@node.example.com")
	return func(context.Context, config.Node, func(api.Node)) error { return refused },
		func(context.Context, config.Node) error { return refused }
}
