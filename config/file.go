package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/protoduction/micro/cloud"
)

// DefaultFile is read if it exists.
const DefaultFile = "/etc/micro/micro.yml"

// File returns a source that has the settings of a YAML file: a mapping of setting to value or list of values. A
// missing file has no settings.
func File(path string) (Source, error) {
	none := func(string) ([]string, string) { return nil, "" }
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, cloud.Errorf(cloud.Invalid, "cannot read %s: %w", path, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return none, cloud.Errorf(cloud.Invalid, "%s is not valid YAML: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return none, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return none, cloud.Errorf(cloud.Invalid, "%s:%d: settings must be written KEY: VALUE", path, root.Line)
	}
	type setting struct {
		values []string
		line   int
	}
	settings := map[string]setting{}
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if !slices.Contains(Keys(), key.Value) {
			errs = append(errs, cloud.Errorf(cloud.Invalid, "%s:%d: unknown setting %q", path, key.Line, key.Value).WithHint("the settings are %s", strings.Join(Keys(), ", ")))
			continue
		}
		var many []string
		if value.Kind == yaml.SequenceNode {
			err = value.Decode(&many)
		} else {
			var one string
			err = value.Decode(&one)
			many = []string{one}
		}
		if err != nil || len(many) == 0 {
			errs = append(errs, cloud.Errorf(cloud.Invalid, "%s:%d: %s needs a value or a list of values", path, value.Line, key.Value))
			continue
		}
		settings[key.Value] = setting{many, key.Line}
	}
	if err := cloud.Join(errs...); err != nil {
		return none, err
	}
	return func(key string) ([]string, string) {
		s, ok := settings[key]
		if !ok {
			return nil, ""
		}
		return s.values, fmt.Sprintf("%s:%d", path, s.line)
	}, nil
}
