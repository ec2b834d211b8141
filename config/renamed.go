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
func renamedKey(n *yaml.Node) error {
	for i, child := range n.Content {
		if now := renamed[child.Value]; now != "" && n.Kind == yaml.MappingNode && i%2 == 0 {
			return fmt.Errorf("line %d: %s is called %s", child.Line, child.Value, now)
		}
		if err := renamedKey(child); err != nil {
			return err
		}
	}
	return nil
}
