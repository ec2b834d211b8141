package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// configFile is a guest's Proxmox configuration file: the lines of the current section, and the
// lines of the other sections. Each snapshot of the guest has its own section in the file.
type configFile struct {
	path          string
	current, rest []string
}

func openConfig(path string) (*configFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := slices.Collect(strings.Lines(string(text)))
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "[") })
	if at < 0 {
		at = len(lines)
	}
	current := slices.DeleteFunc(lines[:at:at], func(line string) bool { return line == "\n" })
	return &configFile{path, current, lines[at:]}, nil
}

func (c *configFile) save() error {
	text := strings.Join(slices.Concat(c.current, c.rest), "")
	return errors.Join(os.WriteFile(c.path+".new", []byte(text), 0o644), os.Rename(c.path+".new", c.path))
}

func (c *configFile) get(key string) string {
	for _, line := range c.current {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// set sets a key of the guest's configuration to a value; "" removes the key.
func (c *configFile) set(key, value string) {
	c.current = slices.DeleteFunc(c.current, func(line string) bool { return strings.HasPrefix(line, key+":") })
	if value != "" {
		c.current = append(c.current, key+": "+value+"\n")
	}
}

// snapshot returns the lines of a snapshot's section in the guest's configuration.
func (c *configFile) snapshot(name string) (lines []string, found bool) {
	for _, line := range c.rest {
		if strings.HasPrefix(line, "[") {
			if found {
				break
			}
			found = strings.TrimSpace(line) == "["+name+"]"
		} else if found {
			lines = append(lines, line)
		}
	}
	return lines, found
}

// snapshots reports whether the guest has any snapshot.
func (c *configFile) snapshots() bool {
	return slices.ContainsFunc(c.rest, func(line string) bool { return strings.HasPrefix(line, "[") })
}

// addSnapshot adds a section for a snapshot to the guest's configuration, with a copy of the
// current section.
func (c *configFile) addSnapshot(name string) {
	c.rest = append(append(c.rest, "\n", "["+name+"]\n"), slices.DeleteFunc(slices.Clone(c.current), func(line string) bool {
		return strings.HasPrefix(line, "lock:") || strings.HasPrefix(line, "parent:")
	})...)
}

// removeSnapshot removes the section of a snapshot from the guest's configuration.
func (c *configFile) removeSnapshot(name string) {
	inside := false
	c.rest = slices.DeleteFunc(c.rest, func(line string) bool {
		if strings.HasPrefix(line, "[") {
			inside = strings.TrimSpace(line) == "["+name+"]"
		}
		return inside
	})
}

// volume is a disk in a guest's configuration.
type volume struct{ key, storage, name, options, dataset string }

// base returns the name of the volume's dataset below the storage's dataset: the volume name of a
// linked clone is BASE/NAME.
func (v volume) base() string { return filepath.Base(v.name) }

func (v volume) String() string { return v.storage + ":" + v.name + v.options }

var (
	diskKey = regexp.MustCompile(`^(?:scsi|mp|unused)\d+$|^rootfs$`)
	zfsPool = regexp.MustCompile(`(?m)^zfspool: (\S+)\n\s+pool (\S+)$`)
)

// storages returns the datasets of all ZFS storages of storage.cfg, by the storages' names.
func storages() (map[string]string, error) {
	text, err := os.ReadFile("/etc/pve/storage.cfg")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, m := range zfsPool.FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = m[2]
	}
	return all, nil
}

// volumes returns the guest's disks, in the order of their configuration keys. If the argument
// `unused` is false, volumes leaves out unused disks.
func (c *configFile) volumes(unused bool) ([]volume, error) {
	pools, err := storages()
	if err != nil {
		return nil, err
	}
	var all []volume
	for _, line := range c.current {
		key, value, _ := strings.Cut(line, ":")
		if !diskKey.MatchString(key) || strings.HasPrefix(key, "unused") && !unused {
			continue
		}
		value = strings.TrimSpace(value)
		full, _, _ := strings.Cut(value, ",")
		storage, name, found := strings.Cut(full, ":")
		if pool := pools[storage]; found && pool != "" {
			all = append(all, volume{key, storage, name, value[len(full):], pool + "/" + filepath.Base(name)})
		}
	}
	slices.SortFunc(all, func(a, b volume) int { return strings.Compare(a.key, b.key) })
	return all, nil
}

// volume returns the guest's disk with the given configuration key, for example scsi0.
func (c *configFile) volume(key string) (volume, error) {
	all, err := c.volumes(false)
	i := slices.IndexFunc(all, func(v volume) bool { return v.key == key })
	if err == nil && i < 0 {
		err = fmt.Errorf("disk '%s' does not exist", key)
	}
	if err != nil {
		return volume{}, err
	}
	return all[i], nil
}
