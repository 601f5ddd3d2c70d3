package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/testdata/apps"
	"github.com/protoduction/micro/testdata/debimage"
)

// firstAnswers measures from the request for a new app of an image that is in the store until its
// address answers with 200; and in turns with it, how long `runc run` of the same program takes to answer.
func (n *node) firstAnswers(ctx context.Context, rounds int) (times, bare []time.Duration, err error) {
	image, err := n.helloImage(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, err := newBundle(ctx, filepath.Join(n.dir, "bundle"))
	if err != nil {
		return nil, nil, err
	}
	for i := range rounds {
		app := cloud.AppName(fmt.Sprintf("hello%d", i))
		took, err := n.pushImage(ctx, app, image)
		if err != nil {
			return nil, nil, err
		}
		times = append(times, took)
		if _, err := n.micro(ctx, "delete", string(app), "--yes"); err != nil {
			return nil, nil, err
		}
		if took, err = b.run(ctx, fmt.Sprintf("micro-bench-%d-%d", n.process.Process.Pid, i)); err != nil {
			return nil, nil, err
		}
		bare = append(bare, took)
	}
	return times, bare, nil
}

// helloImage brings the image of a small server into the node's store and returns its name there.
func (n *node) helloImage(ctx context.Context) (string, error) {
	archive := filepath.Join(n.dir, "hello.tar")
	if err := apps.HelloArchive(ctx, archive); err != nil {
		return "", err
	}
	loaded, err := n.micro(ctx, "image", "load", archive) // name and digest
	name, digest, _ := strings.Cut(strings.TrimSpace(loaded), " ")
	return name + "@" + digest, err
}

// pushImage makes an app of an image and returns how long that took, until its address answered.
func (n *node) pushImage(ctx context.Context, app cloud.AppName, image string) (time.Duration, error) {
	begin := time.Now()
	push, err := n.client.Push(ctx, cloud.AppRef{Group: cloud.DefaultGroup, App: app}, api.PushRequest{Image: image})
	if err != nil {
		return 0, err
	}
	answered := make(chan error, 1)
	go func() { answered <- untilOK(ctx, n.http, string(app)+".micro.test") }()
	for _, err := range n.client.PushEvents(ctx, push.ID, 1) {
		if err != nil {
			return 0, err
		}
	}
	err = <-answered
	return time.Since(begin), err
}

// untilOK asks for a host at an address until the answer is 200.
func untilOK(ctx context.Context, addr, host string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			return err
		}
		request.Host = host
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s never answered: %w", host, ctx.Err())
		}
	}
}

// unchangedPushes measures `micro push` of a folder with a Dockerfile that was pushed before, from exec
// to exit.
func (n *node) unchangedPushes(ctx context.Context, rounds int) ([]time.Duration, error) {
	python, _ := debimage.Preset("python")
	base, err := debimage.Build(ctx, python, false)
	if err != nil {
		return nil, err
	}
	if _, err := n.micro(ctx, "image", "load", base); err != nil {
		return nil, err
	}
	folder := filepath.Join(n.dir, "shop")
	if err := apps.CopyTo(ctx, folder, "shop"); err != nil {
		return nil, err
	}
	var times []time.Duration
	for i := range rounds + 1 {
		begin := time.Now()
		if _, err := n.micro(ctx, "push", folder, "--app", "shop"); err != nil {
			return nil, err
		}
		if i > 0 {
			times = append(times, time.Since(begin))
		}
	}
	return times, nil
}
