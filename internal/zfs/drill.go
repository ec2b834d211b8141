package zfs

import (
	"context"
	"strconv"
	"strings"
)

const (
	// DrillRoot is the last component of the dataset, directly below the root dataset of a pool,
	// below which snapwatch drill makes its clones.
	DrillRoot = "snapwatch-drill"
	// DrillMark is the property that marks a clone of snapwatch drill.
	DrillMark = "snapwatch:drill"
)

// InDrill reports whether a dataset is the dataset of the drills in its pool, or lies below it. No
// dataset for which InDrill returns true is a guest's disk, whatever its name is.
func InDrill(dataset string) bool { return Within(dataset, Pool(dataset)+"/"+DrillRoot) }

// Drilled is a dataset that is the dataset of the drills in its pool, or lies below it, or a snapshot
// of one.
type Drilled struct {
	Name string
	// CreateTXG is the transaction group in which it was made in this pool.
	CreateTXG uint64
	// Origin is the snapshot from which the dataset was cloned, "" if the dataset is not a clone.
	Origin string
	// Mark is the value of [DrillMark], "" unless the value was set on this dataset on this host.
	Mark string
}

// drilledProperties are the properties that [Reader.Drilled] reads, in the order of the output.
var drilledProperties = []string{"createtxg", "origin", DrillMark}

// Drilled lists the dataset of the drills in a pool, all datasets below it, and their snapshots, none
// if there is no such dataset.
func (r Reader) Drilled(ctx context.Context, pool string) ([]Drilled, error) {
	root := pool + "/" + DrillRoot
	argv := []string{"zfs", "get", "-Hp", "-r", "-t", "filesystem,volume,snapshot", "-o", "name,property,value,source", strings.Join(drilledProperties, ","), root}
	var all []Drilled
	at := 0
	err := r.lines(ctx, argv, func(line string) error {
		f := strings.Split(line, "\t")
		dataset, _, _ := strings.Cut(f[0], "@")
		valid := ValidDataset(strings.Replace(f[0], "@", "/", 1)) && Within(dataset, root) // a foreign snapshot may have a blank
		if len(f) != 4 || f[1] != drilledProperties[at] || !valid || at > 0 && f[0] != all[len(all)-1].Name {
			return unreadable("unexpected line %q: not what was asked for", clip(line))
		}
		switch {
		case at == 0:
			txg, err := strconv.ParseUint(f[2], 10, 64)
			if err != nil {
				return unreadable("unexpected line %q: no transaction group", clip(line))
			}
			all = append(all, Drilled{Name: f[0], CreateTXG: txg})
		case at == 1:
			all[len(all)-1].Origin = unset(f[2])
		case f[3] == "local":
			all[len(all)-1].Mark = unset(f[2])
		}
		at = (at + 1) % len(drilledProperties)
		return nil
	})
	switch {
	case OnlyMissing(err):
		return nil, nil
	case err != nil:
		return nil, err
	case at != 0:
		return nil, unreadable("the output of zfs get ends in the middle of a dataset")
	}
	return all, nil
}

// Receiving returns each dataset of the list into which a receive is running, or into which a
// receive was interrupted and can be resumed. zfs lists the hidden dataset of a receive only by its
// name.
func (r Reader) Receiving(ctx context.Context, datasets []string) ([]string, error) {
	const hidden = "/%recv"
	argv := []string{"zfs", "list", "-H", "-o", "name"}
	for _, d := range datasets {
		argv = append(argv, d+hidden)
	}
	var receiving []string
	err := r.lines(ctx, argv, func(line string) error {
		dataset, ok := strings.CutSuffix(line, hidden)
		if !ok {
			return unreadable("unexpected line %q: not what was asked for", clip(line))
		}
		receiving = append(receiving, dataset)
		return nil
	})
	if OnlyMissing(err) {
		err = nil
	}
	return receiving, err
}
