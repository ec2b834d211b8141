package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// renamed are the keys that had another name, and what to write instead.
var renamed = map[string]string{
	"primary": "owners now",
	"vmids":   "vmid now, as in 100,102-104",
}

// renamedKey returns an error that names the new key where there is an old one.
func renamedKey(key, _ *yaml.Node) error {
	if now := renamed[key.Value]; now != "" {
		return fmt.Errorf("line %d: %s is called %s", key.Line, key.Value, now)
	}
	return nil
}
