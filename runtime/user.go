package runtime

import (
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// MaxID is the largest user or group ID that a container has.
const MaxID = 1<<16 - 1

// CheckUser reports an image that is to run as a user or group that no container has. Names are looked up in the
// image's files when it starts.
func (i Image) CheckUser() error {
	for part := range strings.SplitSeq(i.User, ":") {
		if id, err := strconv.ParseUint(part, 10, 64); err == nil && id > MaxID {
			return cloud.Errorf(cloud.Invalid, "image %s is to run as USER %s: IDs in a container end at %d", i.Name, i.User, MaxID).
				WithHint("give the image a USER with a smaller ID, and its files that owner")
		}
	}
	return nil
}
