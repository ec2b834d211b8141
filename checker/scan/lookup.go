package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Lookup is the result of looking up one full name of a snapshot.
type Lookup struct {
	Presence checker.Presence
	GUID     uint64
	// CreateTXG is the txg of the snapshot, which gives its position among the dataset's snapshots.
	CreateTXG uint64
	// Problem says why it is unknown whether the snapshot exists, "" if this is known.
	Problem string
}

// Lookup looks up full names of snapshots, all of one pool. A name that is not among the pool's
// snapshots is looked up among its bookmarks. Lookup does not wait for scans. If Lookup returns
// an error, nothing is known about any of the names.
func (s Scanner) Lookup(ctx context.Context, pool string, fullNames []string) (map[string]Lookup, error) {
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	fullNames = slices.Compact(slices.Sorted(slices.Values(fullNames))) // two copies of one disk have the same name
	found := map[string]Lookup{}
	err := s.asking(ctx, pool, func(r zfs.Reader) error {
		snapshots, err := r.Lookup(ctx, fullNames)
		if err := note(found, checker.AsSnapshot, fullNames, snapshots, err); err != nil {
			return err
		}
		var bookmarks []string
		for _, name := range fullNames {
			if _, is := found[name]; !is {
				bookmarks = append(bookmarks, strings.Replace(name, "@", "#", 1))
			}
		}
		marks, err := r.LookupBookmarks(ctx, bookmarks)
		return note(found, checker.AsBookmark, bookmarks, marks, err)
	})
	if err != nil {
		return nil, fmt.Errorf("looking up snapshots: %s", problemText(pool, err))
	}
	for _, name := range fullNames {
		if _, is := found[name]; !is {
			found[name] = Lookup{Presence: checker.Absent}
		}
	}
	if len(found) != len(fullNames) {
		return nil, fmt.Errorf("%w: the answer of pool %s has names that were not requested", zfs.ErrOutput, pool)
	}
	return found, nil
}

// note adds the results of a lookup by zfs to the map all: the snapshots that were found, and the
// names for which zfs failed. note returns err if zfs failed for all names.
func note(all map[string]Lookup, as checker.Presence, names []string, answer []zfs.Snapshot, err error) error {
	faults, some := errors.AsType[zfs.Faults](err)
	if err != nil && !some && !zfs.Complained(err) {
		return err
	}
	for _, s := range answer {
		all[s.FullName()] = Lookup{Presence: as, GUID: s.GUID, CreateTXG: s.CreateTXG}
	}
	for _, name := range names {
		name = strings.Replace(name, "#", "@", 1)
		dataset, _, _ := strings.Cut(name, "@")
		if _, is := all[name]; is || err == nil || some && faults[dataset] == "" {
			continue
		}
		all[name] = Lookup{Problem: cmp.Or(faults[dataset], err.Error())}
	}
	return nil
}
