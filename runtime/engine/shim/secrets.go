package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SecretsFile is where a container's secrets are while its process is made: a list of K=V, in JSON. state is the
// engine's folder in memory.
func SecretsFile(state, id string) string { return filepath.Join(state, "i", id, "secrets") }

// addSecrets adds a container's secrets to the environment in its bundle's specification, which runc reads when it
// makes the process. forget takes them out again.
func addSecrets(bundle, id string) (forget func() error, _ error) {
	none := func() error { return nil }
	text, err := os.ReadFile(SecretsFile(filepath.Join(bundle, "../../.."), id))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	var secrets []string
	if err == nil {
		err = json.Unmarshal(text, &secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("the container's secrets: %w", err)
	}
	config := filepath.Join(bundle, "config.json")
	before, err := os.ReadFile(config)
	if err != nil {
		return nil, fmt.Errorf("the container's specification: %w", err)
	}
	after, err := withEnv(before, secrets)
	if err != nil {
		return nil, fmt.Errorf("the container's specification: %w", err)
	}
	forget = func() error { return replaceFile(config, before) }
	return forget, replaceFile(config, after)
}

// withEnv returns a specification whose process has more variables. A name that it has already gets the new value. All
// else stays as it is, whatever version of the specification it is of.
func withEnv(config []byte, more []string) ([]byte, error) {
	var spec, process map[string]json.RawMessage
	var env []string
	if err := json.Unmarshal(config, &spec); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(spec["process"], &process); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(process["env"], &env); err != nil {
		return nil, err
	}
	at := make(map[string]int, len(env)+len(more))
	for i, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		at[name] = i
	}
	for _, kv := range more {
		name, _, _ := strings.Cut(kv, "=")
		if i, there := at[name]; there {
			env[i] = kv
			continue
		}
		at[name] = len(env)
		env = append(env, kv)
	}
	var err error
	if process["env"], err = json.Marshal(env); err != nil {
		return nil, err
	}
	if spec["process"], err = json.Marshal(process); err != nil {
		return nil, err
	}
	return json.Marshal(spec)
}

// replaceFile writes a file that root alone may read.
func replaceFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
