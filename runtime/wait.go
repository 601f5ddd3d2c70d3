package runtime

import (
	"context"
	"time"

	"github.com/protoduction/micro/cloud"
)

// views has the latest view.
type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// retryAfter is the pause after a failed removal.
const retryAfter = time.Second
