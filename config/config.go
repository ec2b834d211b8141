// Package config is the file /etc/snapwatch/config.yaml: its types, its defaults,
// strict loading and validation. Every key is optional, and so is the file. A key
// that is not known is an error: a misspelt limit must not leave a disk unwatched.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// Path is where the file is looked for when no other is named.
const Path = "/etc/snapwatch/config.yaml"

// Config is the whole file, with the defaults filled in.
type Config struct {
	// Node is this node's name, when Proxmox's own is to be checked against it.
	Node string `yaml:"node"`
	// Role is "" or "replica"; on a replica snap refuses to run, and keep is for prune.
	Role string `yaml:"role"`
	// Datasets are searched for disks. On a primary node they stand in for the
	// storages of storage.cfg and hold the disks directly; on a replica disks are
	// found anywhere below them, and the default is every pool.
	Datasets []string `yaml:"datasets"`
	// Pools must be imported; one that is not is an alarm.
	Pools []string `yaml:"pools"`
	// Replicas are datasets on this node that are received from elsewhere: snap
	// takes no snapshot of them and sets no label, and prune rotates them.
	Replicas []string `yaml:"replicas"`
	// Keep is the retention in words, as on the command line: "f48 h24 d30".
	Keep Keep `yaml:"keep,omitempty"`
	// Bookmarks is of how many days each disk keeps the bookmarks; 0 makes none.
	Bookmarks int `yaml:"bookmarks"`
	// StoppedGrace is how long receivers get to fetch a newer snapshot before an
	// older _stopped one may go.
	StoppedGrace Duration `yaml:"stopped_grace"`
	// ConfirmStop is how long a guest must stay down before its stop is believed.
	ConfirmStop Duration `yaml:"confirm_stop"`
	// BootGrace is how long after boot no stop is believed.
	BootGrace Duration `yaml:"boot_grace"`
	// RefreshStopped renews the _stopped snapshot of a stopped guest when it is
	// older than this; 0 never does.
	RefreshStopped Duration `yaml:"refresh_stopped"`
	// AdoptPeerLabels lets snap take over the label of another node of the same
	// cluster for a stopped guest whose configuration is here.
	AdoptPeerLabels bool `yaml:"adopt_peer_labels"`
	// MaxDestroys is how many snapshots one run destroys at most, nil where nothing is said:
	// see [Config.MaxDestroysFor].
	MaxDestroys *int `yaml:"max_destroys,omitempty"`
	// CaptureConfig keeps a guest's configuration with its snapshots.
	CaptureConfig bool `yaml:"capture_config"`
	// Hooks are programs to start before and after snapshots.
	Hooks Hooks `yaml:"hooks,omitempty"`
	// Overrides change settings for some guests, disks or pools; for each setting
	// the last entry that applies and has it decides.
	Overrides []Override `yaml:"overrides"`
	// Ping is who is told of runs, so that silence is an alarm elsewhere.
	Ping []Ping `yaml:"ping,omitempty"`

	Quiesced `yaml:",inline"`
	Watch    `yaml:",inline"`
}

// Override changes settings for the disks that it selects.
type Override struct {
	Selector `yaml:",inline"`
	// Keep is the retention for these disks instead of the one of the run.
	Keep Keep `yaml:"keep,omitempty"`
	// Ignore leaves these disks alone: no snapshots, no labels, no alarms.
	Ignore bool `yaml:"ignore,omitempty"`

	WatchOverride `yaml:",inline"`
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		Bookmarks:    30,
		StoppedGrace: Duration(24 * time.Hour),
		ConfirmStop:  Duration(20 * time.Second),
		BootGrace:    Duration(5 * time.Minute),
		Quiesced:     Quiesced{MaxFreeze: Duration(10 * time.Second)},
		Watch:        defaultWatch(),
	}
}

// Load reads the file at path. A missing file is an error only where it was asked
// for by name: LoadDefault forgives it.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c, err := parse(text)
	if err == nil && c.Hooks.Any() {
		err = checkOwner(path)
	}
	if err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// LoadDefault reads [Path] if it is there, and else returns the defaults. A link to nowhere is
// there: somebody meant to configure something.
func LoadDefault(path string) (Config, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return Default(), nil
	}
	return Load(path)
}

func parse(text []byte) (Config, error) {
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return Config{}, syntax(err)
	}
	w := words{map[string]int{}}
	for _, root := range tree.Content {
		if err := w.look(root, reflect.TypeFor[Config](), ""); err != nil {
			return Config{}, err
		}
	}
	c := Default()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, syntax(err)
	}
	if err := eachKey(&tree, emptySelector); err != nil {
		return Config{}, err
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("more than one YAML document in the file")
	}
	if err := c.validate(); err != nil {
		return Config{}, w.located(err)
	}
	return c, nil
}

// eachKey calls check with every key of the tree and its value, up to the first error.
func eachKey(n *yaml.Node, check func(key, value *yaml.Node) error) error {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if err := check(child, n.Content[i+1]); err != nil {
				return err
			}
		}
		if err := eachKey(child, check); err != nil {
			return err
		}
	}
	return nil
}

// emptySelector finds a key that says what an entry is for, without a value: the entry
// would be for all, as if the key were not there.
func emptySelector(key, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	nothing := value.ShortTag() == "!!null" || value.Kind == yaml.ScalarNode && value.Value == ""
	if slices.Contains([]string{"vmid", "disk", "pool"}, key.Value) && nothing {
		return fmt.Errorf("line %d: %s has no value, so that the entry would be for all; give it one, or take the key out", key.Line, key.Value)
	}
	return nil
}

func (c Config) validate() error {
	if c.Role != "" && c.Role != "replica" {
		return fmt.Errorf("role: %q is not known; leave it out or write replica", c.Role)
	}
	if c.Bookmarks < 0 {
		return fmt.Errorf("bookmarks: %d is negative; write 0 to make none", c.Bookmarks)
	}
	if c.MaxDestroys != nil && *c.MaxDestroys < 1 {
		return fmt.Errorf("max_destroys: %d; at least 1 is needed to rotate at all", *c.MaxDestroys)
	}
	for _, list := range []struct {
		key      string
		names    []string
		validate func(string) error
	}{{"datasets", c.Datasets, validateDataset}, {"replicas", c.Replicas, validateDataset}, {"pools", c.Pools, validatePool}} {
		for _, name := range list.names {
			if err := list.validate(name); err != nil {
				return fmt.Errorf("%s: %w", list.key, err)
			}
		}
	}
	for i, o := range c.Overrides {
		if err := o.Selector.validate(); err != nil {
			return fmt.Errorf("overrides, entry %d: %w", i+1, err)
		}
		if err := o.WatchOverride.validate(c.Limits); err != nil {
			return fmt.Errorf("overrides, entry %d: %w", i+1, err)
		}
	}
	for i, p := range c.Ping {
		if err := p.validate(); err != nil {
			return fmt.Errorf("ping, entry %d: %w", i+1, err)
		}
	}
	if err := c.Quiesced.validate(); err != nil {
		return err
	}
	if err := c.Hooks.validate(); err != nil {
		return err
	}
	return c.Watch.validate()
}

// MaxDestroysFor returns how many snapshots one run may destroy on so many disks. The limit is
// for surprises: without a number in the file it is far above what a day makes due.
func (c Config) MaxDestroysFor(disks int) int {
	if c.MaxDestroys != nil {
		return *c.MaxDestroys
	}
	return max(minDestroys, destroysPerDisk*disks)
}

// What one run may destroy where the file says nothing.
const (
	minDestroys     = 1000
	destroysPerDisk = 20
)

// KeepFor returns the retention of a disk and the rule it comes from: the last
// override that is for the disk and has one, or else the run's own.
func (c Config) KeepFor(dataset string, vmid int, run Keep) (keep Keep, rule string) {
	keep, rule = run, "keep"
	for i, o := range c.Overrides {
		if o.Keep != nil && o.Matches(dataset, vmid) {
			keep, rule = o.Keep, fmt.Sprintf("overrides[%d].keep (%s)", i, o.Selector)
		}
	}
	return keep, rule
}

// IgnoredFor returns why snap leaves a disk alone, "" if it doesn't.
func (c Config) IgnoredFor(dataset string, vmid int) string {
	for i, o := range c.Overrides {
		if o.Ignore && o.Matches(dataset, vmid) {
			return fmt.Sprintf("overrides[%d].ignore (%s)", i, o.Selector)
		}
	}
	return ""
}

// YAML writes the configuration with its defaults filled in.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }
