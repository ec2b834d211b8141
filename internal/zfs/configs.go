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

// KeptConfig is a snapshot and the configuration that it keeps.
type KeptConfig struct {
	Snapshot
	// Value is that of [GuestConfig], "" where the snapshot has none of its own.
	Value string
}

// configProperties are asked of every snapshot, in this order. One of ZFS's own is the last,
// as among headProperties.
var configProperties = []string{"createtxg", "creation", GuestConfig, "guid"}

// Configs reads all snapshots of a dataset with the configurations they keep, the
// oldest first. Where they can't be read it returns none: a value may have made up a
// snapshot. One of which something else can't be read is left out, with [Faults]. A value
// that is inherited is none: it would be that of the dataset as it is now. It costs time with every snapshot there is.
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
				return unreadable("unexpected line %q: no snapshot of %s, or listed twice", clip(line), dataset)
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

// ConfigsOf reads the configurations that the named snapshots keep, by full name. One that is
// gone meanwhile is left out; one that keeps none has "".
func (r Reader) ConfigsOf(ctx context.Context, fullNames []string) (map[string]string, error) {
	values := map[string]string{}
	for chunk := range slices.Chunk(fullNames, namesPerCall) {
		argv := append([]string{"zfs", "get", "-Hp", "-t", "snapshot", "-o", "name,value,source", GuestConfig}, chunk...)
		err := r.lines(ctx, argv, func(line string) error {
			f := strings.Split(line, "\t")
			if len(f) != 3 || !slices.Contains(chunk, f[0]) {
				return unreadable("unexpected line %q: no snapshot that was asked for, or not 3 columns", clip(line))
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
