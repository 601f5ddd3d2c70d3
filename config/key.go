package config

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// keySuffix makes the key file's name of the data folder's.
const keySuffix = ".key"

// KeyFile returns where the key to the cloud's secrets is: the file that was asked for, the credential
// micro.key that systemd hands over (LoadCredential=), or DATA.key beside the data folder. It is never in
// the data folder: whoever copies that must not have the key too.
func (n *Node) KeyFile(lookup func(string) (string, bool)) string {
	if n.Key != "" {
		return n.Key
	}
	if dir, ok := lookup("CREDENTIALS_DIRECTORY"); ok && dir != "" {
		credential := filepath.Join(dir, "micro.key")
		if _, err := os.Stat(credential); err == nil {
			return credential
		}
	}
	return n.Data + keySuffix
}

// checkKey refuses a key file inside the data folder.
func (n *Node) checkKey() error {
	if n.Key == "" || !strings.HasPrefix(n.Key, n.Data+"/") {
		return nil
	}
	return cloud.Errorf(cloud.Invalid, "key file %s lies in the data folder, whose copies it would open", n.Key).WithHint("for example --key %s", n.Data+keySuffix)
}
