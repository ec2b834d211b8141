package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// renamed maps the old names of configuration keys to a text that names the new key.
var renamed = map[string]string{
	"primary": "owners now",
	"vmids":   "vmid now, as in 100,102-104",
}

// renamedKey returns an error that names the new key if key is the old name of a configuration key.
func renamedKey(key, _ *yaml.Node) error {
	if now := renamed[key.Value]; now != "" {
		return fmt.Errorf("line %d: %s is called %s", key.Line, key.Value, now)
	}
	return nil
}
