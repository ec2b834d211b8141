package scan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Held is a name that was looked for.
type Held struct {
	As   checker.Holding
	GUID uint64
	// CreateTXG is its place among the dataset's snapshots.
	CreateTXG uint64
}

// Held looks up full names of snapshots, all of one pool, among the pool's snapshots
// and, where there is none, among its bookmarks. It waits for the pool's lock as a
// scan does. Its error is that nothing is known of any of them.
func (s Scanner) Held(ctx context.Context, pool string, fullNames []string) (map[string]Held, error) {
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	fullNames = slices.Compact(slices.Sorted(slices.Values(fullNames))) // two copies of one disk ask the same
	found := map[string]Held{}
	err := s.locked(ctx, pool, func(r zfs.Reader) error {
		snapshots, err := r.Lookup(ctx, fullNames)
		if err != nil {
			return err
		}
		for _, s := range snapshots {
			found[s.FullName()] = Held{checker.HeldAsSnapshot, s.GUID, s.CreateTXG}
		}
		var bookmarks []string
		for _, name := range fullNames {
			if _, is := found[name]; !is {
				found[name] = Held{As: checker.NotHeld}
				bookmarks = append(bookmarks, strings.Replace(name, "@", "#", 1))
			}
		}
		marks, err := r.LookupBookmarks(ctx, bookmarks)
		for _, m := range marks {
			found[m.FullName()] = Held{checker.HeldAsBookmark, m.GUID, m.CreateTXG}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking up snapshots: %s", problemText(pool, err))
	}
	if len(found) != len(fullNames) {
		return nil, fmt.Errorf("%w: pool %s answered for names that were not asked for", zfs.ErrOutput, pool)
	}
	return found, nil
}
