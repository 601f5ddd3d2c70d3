package store

import (
	"strings"

	"github.com/protoduction/micro/store/kv"
)

// migrations convert version 1 to the newest, one version each.
func migrations(v *values) []migration {
	return []migration{
		renameSites,      // to version 2
		v.encryptObjects, // to version 3
	}
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

// encryptObjects encrypts the objects that may hold secrets.
func (v *values) encryptObjects(objects []kv.Pair) (put []kv.Put, _ []string, _ error) {
	if v == nil {
		return nil, nil, nil
	}
	for _, o := range objects {
		if mayHoldSecrets(o.Key) && len(o.Value) > 0 && o.Value[0] != encrypted {
			put = append(put, kv.Put{Key: o.Key, Value: v.encrypt(o.Key, o.Value)})
		}
	}
	return put, nil, nil
}
