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
// address answers with 200.
func (n *node) firstAnswers(ctx context.Context, rounds int) ([]time.Duration, error) {
	archive := filepath.Join(n.dir, "hello.tar")
	if err := apps.HelloArchive(ctx, archive); err != nil {
		return nil, err
	}
	loaded, err := n.micro(ctx, "image", "load", archive) // name and digest
	if err != nil {
		return nil, err
	}
	name, digest, _ := strings.Cut(strings.TrimSpace(loaded), " ")
	var times []time.Duration
	for i := range rounds {
		app := cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(fmt.Sprintf("hello%d", i))}
		begin := time.Now()
		push, err := n.client.Push(ctx, app, api.PushDraft{Image: name + "@" + digest})
		if err != nil {
			return nil, err
		}
		answered := make(chan error, 1)
		go func() { answered <- n.untilOK(ctx, string(app.App)+".micro.test") }()
		for _, err := range n.client.PushEvents(ctx, push.ID, 1) {
			if err != nil {
				return nil, err
			}
		}
		if err := <-answered; err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
		if _, err := n.micro(ctx, "delete", string(app.App), "--yes"); err != nil {
			return nil, err
		}
	}
	return times, nil
}

func (n *node) untilOK(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/", nil)
		if err != nil {
			return err
		}
		request.Host = host
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			io.Copy(io.Discard, response.Body)
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
