package config

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// keySuffix is added to the data folder's path to get the default key file.
const keySuffix = ".key"

// KeyFile returns the path of the file with the key to the cloud's secrets: the configured file, the credential
// micro.key from systemd (LoadCredential=), or DATA.key beside the data folder. It is never in the data folder,
// because copies of that folder must not contain the key.
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

// checkKey returns an error if the key file is inside the data folder.
func (n *Node) checkKey() error {
	if n.Key == "" || !strings.HasPrefix(n.Key, n.Data+"/") {
		return nil
	}
	return cloud.Errorf(cloud.Invalid, "key file %s is in the data folder, so that backups of the folder would contain the key", n.Key).WithHint("for example --key %s", n.Data+keySuffix)
}
