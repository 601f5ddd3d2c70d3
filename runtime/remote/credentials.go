package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// dockerFile has the parts of Docker's config.json that we use.
type dockerFile struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredHelpers map[string]string     `json:"credHelpers"`
	CredsStore  string                `json:"credsStore"`
}

type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// hubKey is the name under which Docker Hub's credentials are stored, whichever of its hosts is asked.
const hubKey = "https://index.docker.io/v1/"

// helperTimeout limits a credential helper, which may wait for input that nobody gives.
const helperTimeout = 20 * time.Second

// readDockerFile returns Docker's configuration, which is empty if there is no file, and the file's path. It reads the
// file each time, so that a `docker login` takes effect at once.
func (c Config) readDockerFile() (f dockerFile, path string, err error) {
	path = c.dockerConfig()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, path, nil
	}
	if err != nil {
		return f, path, fmt.Errorf("read registry credentials: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, path, fmt.Errorf("read registry credentials from %s: %w", path, err)
	}
	return f, path, nil
}

// hasLogin reports whether Docker's configuration contains a registry, with or without credentials.
func (c Config) hasLogin(host string) bool {
	f, _, err := c.readDockerFile()
	if err != nil {
		return false
	}
	for _, key := range keys(host) {
		_, auth := f.Auths[key]
		_, helper := f.CredHelpers[key]
		if auth || helper {
			return true
		}
	}
	return false
}

// Credentials returns the user and secret for a registry's host; both are empty if there are none. An empty user with
// a secret means that the secret is a token to be exchanged.
func (c Config) Credentials(host string) (user, secret string, err error) {
	f, path, err := c.readDockerFile()
	if err != nil {
		return "", "", err
	}
	for _, key := range keys(host) {
		helper := f.CredHelpers[key]
		if helper == "" {
			helper = f.CredsStore
		}
		if helper != "" {
			user, secret, err := askHelper(helper, key)
			if err != nil || secret != "" {
				return user, secret, err
			}
		}
		if a, ok := f.Auths[key]; ok {
			user, secret, err := a.pair()
			if err != nil {
				return "", "", fmt.Errorf("credentials of %s in %s: %w", key, path, err)
			}
			if secret != "" {
				return user, secret, nil
			}
		}
	}
	return "", "", nil
}

// keys returns the names under which various tools store a host's credentials.
func keys(host string) []string {
	switch host {
	case "docker.io", "registry-1.docker.io", "index.docker.io":
		return []string{hubKey, "index.docker.io", "docker.io", "registry-1.docker.io"}
	}
	return []string{host, "https://" + host, "https://" + host + "/", "https://" + host + "/v1/", "https://" + host + "/v2/", "http://" + host}
}

func (a dockerAuth) pair() (user, secret string, err error) {
	if a.IdentityToken != "" {
		return "", a.IdentityToken, nil
	}
	if a.Auth == "" {
		return a.Username, a.Password, nil
	}
	plain, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return "", "", errors.New("not base64")
	}
	user, secret, ok := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	if !ok {
		return "", "", errors.New("not user:password")
	}
	return user, secret, nil
}

// askHelper runs docker-credential-HELPER get, by the protocol of docker-credential-helpers.
func askHelper(helper, key string) (user, secret string, err error) {
	if strings.ContainsAny(helper, "/\\ ") {
		return "", "", fmt.Errorf("credential helper %q: not a plain name", helper)
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(key)
	out, err := cmd.Output()
	if err != nil {
		if bytes.Contains(out, []byte("credentials not found")) {
			return "", "", nil
		}
		// Leave out its output, which may contain a secret.
		return "", "", fmt.Errorf("credential helper docker-credential-%s for %s: %w", helper, key, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", "", fmt.Errorf("credential helper docker-credential-%s for %s: answer is not JSON", helper, key)
	}
	if answer.Username == "<token>" {
		return "", answer.Secret, nil
	}
	return answer.Username, answer.Secret, nil
}
