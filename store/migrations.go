package store

import (
	"strings"

	"github.com/protoduction/micro/store/kv"
)

// migrations convert version 1 to the newest, one version each.
var migrations = []migration{
	renameSites, // to version 2
}

// renameSites moves the virtual hosts from sites/ to hosts/.
func renameSites(objects []kv.Pair) (put []kv.Put, del []string, err error) {
	for _, o := range objects {
		if host, ok := strings.CutPrefix(o.Key, objectPrefix+"sites/"); ok {
			put = append(put, kv.Put{Key: objectPrefix + "hosts/" + host, Value: o.Value})
			del = append(del, o.Key)
		}
	}
	return put, del, nil
}
