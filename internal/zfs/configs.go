package zfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// KeptConfig is a snapshot together with the guest's configuration that is stored on the snapshot.
type KeptConfig struct {
	Snapshot
	// Value is the snapshot's own value of [GuestConfig], "" if the snapshot has none.
	Value string
}

// configProperties are the properties that [Reader.Configs] reads of every snapshot, in the order
// of the output. The last property in the list is a native ZFS property, for the reason given at
// headProperties.
var configProperties = []string{"createtxg", "creation", GuestConfig, "guid"}

// Configs reads all snapshots of a dataset, each with the configuration stored on it, the oldest
// first. If the output of zfs is malformed, Configs returns no snapshots, because a property value
// with line breaks may look like a row of another snapshot. Configs leaves out a snapshot with an
// unreadable property, and the error is [Faults]. Configs ignores inherited values, because an
// inherited value belongs to the dataset, not to the snapshot. The more snapshots the dataset has,
// the longer Configs takes.
func (r Reader) Configs(ctx context.Context, dataset string) ([]KeptConfig, error) {
	var all []KeptConfig
	faults := Faults{}
	bad, listed := map[string]bool{}, map[string]bool{}
	at := len(configProperties)
	argv := []string{"zfs", "get", "-Hp", "-d", "1", "-t", "snapshot", "-o", "name,property,value,source", strings.Join(configProperties, ","), dataset}
	err := r.lines(ctx, argv, func(line string) error {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			return unreadable("unexpected line %q: %d columns instead of 4", clip(line), len(f))
		}
		if at == len(configProperties) {
			name, ok := strings.CutPrefix(f[0], dataset+"@")
			if !ok || !printed(name) || listed[name] {
				return unreadable("unexpected line %q: not a snapshot of %s, or listed twice", clip(line), dataset)
			}
			listed[name] = true
			all, at = append(all, KeptConfig{Snapshot: Snapshot{Dataset: dataset, Name: name}}), 0
		}
		c := &all[len(all)-1]
		if f[0] != c.FullName() || f[1] != configProperties[at] {
			return unreadable("unexpected line %q: expected %s of %s", clip(line), configProperties[at], c.FullName())
		}
		at++
		if err := c.set(f[1], f[2], f[3]); err != nil {
			faults.add(dataset, fmt.Errorf("@%s: %s: %w", c.Name, f[1], err))
			bad[c.Name] = true
		}
		return nil
	})
	if err == nil && at != len(configProperties) {
		err = unreadable("the output of zfs get ends in the middle of %s", all[len(all)-1].FullName())
	}
	if errors.Is(err, ErrOutput) {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c KeptConfig) bool { return bad[c.Name] })
	slices.SortStableFunc(all, func(a, b KeptConfig) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) })
	return all, cmp.Or(err, faults.orNil())
}

// ConfigsOf returns, by full name, the configuration that is stored on each of the named snapshots.
// The configuration is "" for a snapshot that stores none. ConfigsOf leaves out a snapshot that no
// longer exists.
func (r Reader) ConfigsOf(ctx context.Context, fullNames []string) (map[string]string, error) {
	values := map[string]string{}
	for chunk := range slices.Chunk(fullNames, namesPerCall) {
		argv := append([]string{"zfs", "get", "-Hp", "-t", "snapshot", "-o", "name,value,source", GuestConfig}, chunk...)
		err := r.lines(ctx, argv, func(line string) error {
			f := strings.Split(line, "\t")
			if len(f) != 3 || !slices.Contains(chunk, f[0]) {
				return unreadable("unexpected line %q: not one of the requested snapshots, or not 3 columns", clip(line))
			}
			values[f[0]] = parseProperty(f[1], f[2]).Own()
			return nil
		})
		if err != nil && !OnlyMissing(err) {
			return values, err
		}
	}
	return values, nil
}

func (c *KeptConfig) set(property, value, source string) (err error) {
	switch property {
	case "guid":
		c.GUID, err = strconv.ParseUint(value, 10, 64)
	case "createtxg":
		c.CreateTXG, err = strconv.ParseUint(value, 10, 64)
	case "creation":
		c.Creation, err = parseTime(value)
	case GuestConfig:
		c.Value = parseProperty(value, source).Own()
	}
	return err
}
