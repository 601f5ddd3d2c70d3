package node

import (
	"context"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// serviceCommands lets services run the commands of their kinds, in instances of any node.
type serviceCommands struct{ commands }

func (s serviceCommands) Exec(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
	return s.commands.Exec(ctx, id, cloud.Actor{Name: "micro", Source: "leader", Role: cloud.RoleAdmin}, c)
}

// RunOnce runs a command of a service that runs elsewhere, in a container on this node.
func (s serviceCommands) RunOnce(ctx context.Context, r cloud.ReleaseRef, process cloud.ProcessName, memory int64, c runtime.Command) (int, error) {
	return s.agent.RunOnce(ctx, r, process, memory, c)
}
