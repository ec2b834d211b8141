// Package config reads and validates the configuration file /etc/snapwatch/config.yaml. Every key
// is optional, and the file may be missing. An unknown key is an error, because a misspelt limit
// must not leave a disk unwatched.
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

// Path is the configuration file that is read if no other file is named.
const Path = "/etc/snapwatch/config.yaml"

// Config is the content of the configuration file, with the defaults filled in.
type Config struct {
	// Node is the name that this node must have in Proxmox, "" for any name.
	Node string `yaml:"node"`
	// Role is "" or "replica". On a replica, snap refuses to run, and prune uses the retention in
	// Keep.
	Role string `yaml:"role"`
	// Datasets has the datasets below which snapwatch looks for disks. On a node with running
	// guests, Datasets replaces the storages of storage.cfg, and the disks are directly below these
	// datasets. On a replica, the disks are at any depth below these datasets. If Datasets is empty
	// on a replica, snapwatch looks for disks in every pool.
	Datasets []string `yaml:"datasets"`
	// Pools has the pools that must be imported. If a pool in Pools is not imported, check alarms.
	Pools []string `yaml:"pools"`
	// Replicas has the datasets on this node that are received from another host. snap takes no
	// snapshots of the disks in Replicas and sets no labels on them. prune rotates the snapshots of
	// these disks.
	Replicas []string `yaml:"replicas"`
	// Keep is the retention, as on the command line: "f48 h24 d30".
	Keep Keep `yaml:"keep,omitempty"`
	// Bookmarks is the number of days for which snap keeps a disk's bookmarks. If Bookmarks is 0,
	// snap creates no bookmarks.
	Bookmarks int `yaml:"bookmarks"`
	// An older _stopped snapshot may be destroyed once a newer snapshot has the age StoppedGrace.
	// During StoppedGrace, receivers have time to fetch the newer snapshot.
	StoppedGrace Duration `yaml:"stopped_grace"`
	// ConfirmStop is the time for which a guest must remain off before the guest counts as stopped.
	ConfirmStop Duration `yaml:"confirm_stop"`
	// BootGrace is the time after boot in which no guest counts as stopped.
	BootGrace Duration `yaml:"boot_grace"`
	// RefreshStopped is the age at which snap renews the _stopped snapshot of a stopped guest. If
	// RefreshStopped is 0, snap never renews a _stopped snapshot.
	RefreshStopped Duration `yaml:"refresh_stopped"`
	// AdoptPeerLabels allows snap to replace the label of another node of the cluster on the disks
	// of a stopped guest whose configuration is on this node.
	AdoptPeerLabels bool `yaml:"adopt_peer_labels"`
	// One run destroys at most MaxDestroys snapshots. If MaxDestroys is nil,
	// [Config.MaxDestroysFor] returns the default.
	MaxDestroys *int `yaml:"max_destroys,omitempty"`
	// CaptureConfig makes snap store a guest's configuration on the guest's snapshots.
	CaptureConfig bool `yaml:"capture_config"`
	// Hooks has the programs that a run starts before and after snapshots.
	Hooks Hooks `yaml:"hooks,omitempty"`
	// Drill has the program that starts guests from clones of their copies.
	Drill Drill `yaml:"drill"`
	// Overrides change settings for some guests, disks or pools. If several overrides select a disk
	// and have the same setting, the last of these overrides applies.
	Overrides []Override `yaml:"overrides"`
	// Ping has the addresses of a dead man's switch: a service to which runs are reported, and
	// which alarms if no report arrives.
	Ping []Ping `yaml:"ping,omitempty"`

	Quiesced `yaml:",inline"`
	Watch    `yaml:",inline"`
}

// Override changes settings for the disks that it selects.
type Override struct {
	Selector `yaml:",inline"`
	// Keep is the retention of the selected disks in place of the run's retention.
	Keep Keep `yaml:"keep,omitempty"`
	// Ignore excludes the selected disks from snapshots, labels and alarms.
	Ignore bool `yaml:"ignore,omitempty"`

	WatchOverride `yaml:",inline"`
}

// Default returns the configuration of an empty file: each key has its default.
func Default() Config {
	return Config{
		Bookmarks:    30,
		StoppedGrace: Duration(24 * time.Hour),
		ConfirmStop:  Duration(20 * time.Second),
		BootGrace:    Duration(5 * time.Minute),
		Drill:        defaultDrill(),
		Quiesced:     Quiesced{MaxFreeze: Duration(10 * time.Second)},
		Watch:        defaultWatch(),
	}
}

// Load reads the configuration file at path. If the file is missing, Load returns an error. For the
// default file use [LoadDefault], which needs no file.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c, err := parse(text)
	if err == nil && c.Hooks.Any() {
		err = checkOwner(path, "hooks")
	}
	if err == nil && len(c.Drill.Boot) > 0 {
		err = checkOwner(path, "drill.boot")
	}
	if err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// LoadDefault reads the file at path. If path does not exist, LoadDefault returns the defaults. If
// path is a link to a missing file, LoadDefault returns an error, because a person who made the
// link wanted to configure something.
func LoadDefault(path string) (Config, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return Default(), nil
	}
	return Load(path)
}

func parse(text []byte) (Config, error) {
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return Config{}, syntax(err, text)
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
		return Config{}, syntax(err, text)
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

// eachKey calls `check` for each key of a parsed YAML file, with the value of the key. If the
// function `check` returns an error, eachKey calls it no more and returns this error.
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

// emptySelector returns an error for a key that selects disks, such as vmid, if the key has no
// value. If a key without a value were accepted, the override would apply to all disks, as if the
// key were missing.
func emptySelector(key, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	nothing := value.ShortTag() == "!!null" || value.Kind == yaml.ScalarNode && value.Value == ""
	if slices.Contains([]string{"vmid", "disk", "pool"}, key.Value) && nothing {
		return fmt.Errorf("line %d: %s has no value, so the entry would apply to all; give a value, or remove the key", key.Line, key.Value)
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
	if err := c.Watch.validate(); err != nil {
		return err
	}
	return c.Drill.validate(c.Limits.MaxDrill)
}

// MaxDestroysFor returns the number of snapshots that one run may destroy if it reads the given
// number of disks. The limit on destroys protects against mistakes. The default limit is far above
// the number of snapshots that the retention drops in a day.
func (c Config) MaxDestroysFor(disks int) int {
	if c.MaxDestroys != nil {
		return *c.MaxDestroys
	}
	return max(minDestroys, destroysPerDisk*disks)
}

// The default of max_destroys is destroysPerDisk for each disk that the run reads, and at least
// minDestroys.
const (
	minDestroys     = 1000
	destroysPerDisk = 20
)

// KeepFor returns the retention of a disk, and the configuration rule that sets the retention. The
// last override that matches the disk and has a retention sets the disk's retention. If no override
// that matches the disk has a retention, the disk has the retention of the run.
func (c Config) KeepFor(dataset string, vmid int, run Keep) (keep Keep, rule string) {
	keep, rule = run, "keep"
	for i, o := range c.Overrides {
		if o.Keep != nil && o.Matches(dataset, vmid) {
			keep, rule = o.Keep, fmt.Sprintf("overrides[%d].keep (%s)", i, o.Selector)
		}
	}
	return keep, rule
}

// IgnoredFor returns the configuration rule that makes snapwatch ignore a disk, "" if no rule
// ignores the disk.
func (c Config) IgnoredFor(dataset string, vmid int) string {
	for i, o := range c.Overrides {
		if o.Ignore && o.Matches(dataset, vmid) {
			return fmt.Sprintf("overrides[%d].ignore (%s)", i, o.Selector)
		}
	}
	return ""
}

// YAML returns the configuration as YAML, with the defaults filled in.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }
