package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// many is how a node with many apps comes back: it has to find them all as it left them.
func many(ctx context.Context, program string, apps int) (figures []figure, err error) {
	n, _, err := startNode(ctx, program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	image, err := n.helloImage(ctx)
	if err != nil {
		return nil, err
	}
	for i := range apps {
		app := cloud.AppName("many" + strconv.Itoa(i))
		if _, err := n.pushImage(ctx, app, image); err != nil {
			return nil, err
		}
	}
	before, err := n.pids(ctx)
	if err != nil {
		return nil, err
	}
	rss, err := n.rss()
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for range 3 {
		if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
			return nil, err
		}
		_ = n.process.Wait()
		took, err := n.start(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
		after, err := n.pids(ctx)
		if err != nil {
			return nil, err
		}
		if !maps.Equal(before, after) || len(after) != apps {
			return nil, fmt.Errorf("of %d instances %d ran before the restart and %d after it, or some are others", apps, len(before), len(after))
		}
	}
	with := fmt.Sprintf(" with %d apps", apps)
	return []figure{
		timeFigure("micro up"+with+" that run on, to ready", times, 2*time.Second),
		{what: "memory of a node" + with + " (RSS)", value: fmt.Sprintf("%.1f MiB", float64(rss)/(1<<20))},
	}, nil
}

// pids are the first processes of all instances that are ready.
func (n *node) pids(ctx context.Context) (map[cloud.InstanceID]uint32, error) {
	all, err := n.client.Instances(ctx, cloud.DefaultGroup, api.InstanceQuery{})
	if err != nil {
		return nil, err
	}
	pids := map[cloud.InstanceID]uint32{}
	for _, i := range all {
		if i.Phase == api.InstancePhase(cloud.InstanceReady) {
			pids[i.Instance] = i.PID
		}
	}
	return pids, nil
}
