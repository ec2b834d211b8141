package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// What is written as one word says in which line it is wrong. yaml.v3 tells that of
// its own errors only.

// UnmarshalYAML implements [yaml.Unmarshaler].
func (k *Keep) UnmarshalYAML(n *yaml.Node) error { return word(n, k.UnmarshalText) }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (d *Duration) UnmarshalYAML(n *yaml.Node) error { return word(n, d.UnmarshalText) }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (v *VMIDs) UnmarshalYAML(n *yaml.Node) error { return word(n, v.UnmarshalText) }

func word(n *yaml.Node, read func([]byte) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: write this in one line of text, not as a list or a map", n.Line)
	}
	if err := read([]byte(n.Value)); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}
