package child

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/build"
)

// explain returns an error for users from BuildKit's error: which step failed, how it ended, and its last lines.
func (t *track) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return cloud.Errorf(cloud.Interrupted, "build: cancelled")
	}
	if known, ok := errors.AsType[*cloud.Error](err); ok {
		return known
	}
	text := strings.TrimPrefix(err.Error(), "failed to solve: ")
	if strings.Contains(text, "no space left on device") {
		return cloud.Errorf(cloud.Unavailable, "build%s: the disk is full", t.where()).WithCommand("micro prune")
	}
	if exit, ok := errors.AsType[*gatewayapi.ExitError](err); ok {
		how := fmt.Sprintf("exited with code %d", exit.ExitCode)
		hint := "run the step's command where you develop, or read its output above"
		if exit.ExitCode == gatewayapi.UnknownExitStatus {
			how = "could not be run: " + text
		}
		switch {
		case strings.Contains(text, "cannot allocate memory"): // cgroup v2 reports it
			how, hint = "ran out of memory", lessMemory
		case exit.ExitCode == 137: // cgroup v1 does not
			how, hint = "was killed (code 137), most likely for want of memory", lessMemory
		}
		msg := fmt.Sprintf("build%s %s", t.where(), how)
		if t.failed != nil {
			if out := t.failed.last(); out != "" {
				msg += "\n" + out
			}
			if strings.Contains(strings.ToLower(t.failed.last()), "no space left on device") {
				hint = "the disk is full, or the step writes to a small one: micro prune"
			}
		}
		return cloud.Errorf(cloud.DeployFailed, "%s", msg).WithHint("%s", hint)
	}
	return cloud.Errorf(cloud.DeployFailed, "build%s: %s", t.where(), causeIn(text)).WithHint("%s", hintFor(t.where(), text))
}

// inside matches what BuildKit says of its own work before the cause: it names nothing that a user knows.
var inside = regexp.MustCompile(`failed to compute cache key: |failed to calculate checksum of ref \S+: |failed to solve: `)

// causeIn returns the part of BuildKit's error that tells its user something.
func causeIn(text string) string { return inside.ReplaceAllString(text, "") }

const lessMemory = "let the step use less memory, for example with fewer jobs at a time"

func (t *track) where() string {
	if t.failed == nil || t.failed.name == "" {
		return ""
	}
	return ": " + t.failed.name
}

// hintFor returns a hint for a step that could not be prepared or whose files were not found. Many things can be "not
// found"; the ignore file matters only for paths of the source folder.
func hintFor(step, text string) string {
	unreachable := strings.Contains(text, "dial tcp") || strings.Contains(text, "no such host") || strings.Contains(text, "i/o timeout")
	switch {
	case unreachable && strings.Contains(step, " ADD "):
		return "check the address: a build's network is its own, and reaches nothing of this machine"
	case unreachable, strings.Contains(text, "failed to resolve source metadata"):
		return "the base image is not on this node and its registry gave none: check its name and this node's way out"
	case strings.Contains(text, "dockerfile parse error"), strings.Contains(text, "unknown instruction"):
		return "correct the Dockerfile at that line"
	case strings.Contains(text, "authentication required"):
		return "if the repository is private: micro push --secret id=GIT_AUTH_TOKEN,src=FILE"
	case strings.Contains(text, kernelStacks):
		return "join RUN steps with &&, copy several files by one COPY, or start from a base image with fewer layers"
	case strings.Contains(text, "target stage"):
		return "name a stage of the Dockerfile, or correct target under build in micro.yml"
	case secretOf.MatchString(text):
		return "micro push --secret id=" + secretOf.FindStringSubmatch(text)[1] + ",src=FILE"
	case strings.Contains(text, "invalid response status"):
		return "check the address: the server does not give this file"
	case !strings.Contains(text, "failed to calculate checksum of ref") && !strings.Contains(text, "failed to compute cache key"):
		return "correct the Dockerfile and push again"
	case strings.Contains(step, "--from="), strings.Contains(step, "from="):
		return "check the path against the files of the stage or image that it is copied from"
	}
	return "check the path against the folder, and against the file that leaves files out: .microignore, .cfignore, .dockerignore or .gitignore"
}

// secretOf returns the ID in BuildKit's error about a missing secret.
var secretOf = regexp.MustCompile(`secret ([\w.-]+): not found`)

func failure(err error) *build.Failure {
	var e *cloud.Error
	if !errors.As(err, &e) {
		e = cloud.Errorf(cloud.Internal, "build: %w", err)
	}
	return &build.Failure{Code: e.Code, Msg: e.Msg, Hint: e.Hint, Command: e.Command}
}
