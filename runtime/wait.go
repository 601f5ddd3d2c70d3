package runtime

import (
	"context"
	"time"

	"github.com/protoduction/micro/cloud"
)

// views is where the agent sees what is.
type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// retryAfter is the pause after a start that failed.
const retryAfter = time.Second
