package child

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
)

// createdAttr is the attribute of buildDockerfile with the image's creation time, in seconds since 1970.
const createdAttr = "micro.created"

// buildDockerfile is BuildKit's front end for Dockerfiles. It gives all steps of the image's history the same time.
// Otherwise BuildKit would write the time when each step ran, which is long ago for cached steps.
func buildDockerfile(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	result, err := dockerfile.Build(ctx, c)
	if err != nil {
		return nil, err
	}
	attr := c.BuildOpts().Opts[createdAttr]
	if attr == "" {
		return result, nil
	}
	seconds, err := strconv.ParseInt(attr, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("when the image was made: %w", err)
	}
	for key, config := range result.Metadata {
		if key != exptypes.ExporterImageConfigKey && !strings.HasPrefix(key, exptypes.ExporterImageConfigKey+"/") {
			continue
		}
		if result.Metadata[key], err = dateHistory(config, time.Unix(seconds, 0).UTC()); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// dateHistory sets the time of all steps in an image's config that have none, which are those after the base image.
func dateHistory(config []byte, at time.Time) ([]byte, error) {
	var c map[string]any
	in := json.NewDecoder(bytes.NewReader(config))
	in.UseNumber()
	if err := in.Decode(&c); err != nil {
		return nil, fmt.Errorf("the image's config: %w", err)
	}
	history, _ := c["history"].([]any)
	for _, h := range history {
		if step, ok := h.(map[string]any); ok && step["created"] == nil {
			step["created"] = at.Format(time.RFC3339)
		}
	}
	return json.Marshal(c)
}
