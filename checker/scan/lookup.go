package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Lookup is a name that was looked for.
type Lookup struct {
	Presence checker.Presence
	GUID     uint64
	// CreateTXG is its place among the dataset's snapshots.
	CreateTXG uint64
}

// Lookup looks up full names of snapshots, all of one pool, among the pool's snapshots
// and, where there is none, among its bookmarks. It waits for the pool's lock as a
// scan does. Its error is that nothing is known of any of them.
func (s Scanner) Lookup(ctx context.Context, pool string, fullNames []string) (map[string]Lookup, error) {
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	fullNames = slices.Compact(slices.Sorted(slices.Values(fullNames))) // two copies of one disk ask the same
	found := map[string]Lookup{}
	err := s.locked(ctx, pool, func(r zfs.Reader) error {
		snapshots, err := r.Lookup(ctx, fullNames)
		faults, some := errors.AsType[zfs.Faults](err)
		if err != nil && !some {
			return err
		}
		for _, name := range fullNames {
			if dataset, _, _ := strings.Cut(name, "@"); faults[dataset] != "" {
				found[name] = Lookup{} // it may be the one that can't be read
			}
		}
		for _, s := range snapshots {
			found[s.FullName()] = Lookup{checker.AsSnapshot, s.GUID, s.CreateTXG}
		}
		var bookmarks []string
		for _, name := range fullNames {
			if _, is := found[name]; !is {
				found[name] = Lookup{Presence: checker.Absent}
				bookmarks = append(bookmarks, strings.Replace(name, "@", "#", 1))
			}
		}
		marks, err := r.LookupBookmarks(ctx, bookmarks)
		faults, some = errors.AsType[zfs.Faults](err)
		if err != nil && !some {
			return err
		}
		for _, name := range bookmarks {
			if dataset, snapshot, _ := strings.Cut(name, "#"); faults[dataset] != "" {
				found[dataset+"@"+snapshot] = Lookup{} // likewise
			}
		}
		for _, m := range marks {
			found[m.FullName()] = Lookup{checker.AsBookmark, m.GUID, m.CreateTXG}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking up snapshots: %s", problemText(pool, err))
	}
	if len(found) != len(fullNames) {
		return nil, fmt.Errorf("%w: pool %s answered for names that were not asked for", zfs.ErrOutput, pool)
	}
	return found, nil
}
