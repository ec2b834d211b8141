package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// newest finds each head's newest managed snapshot, nil for none. It asks only for
// what is not remembered: nothing at all where nothing changed. unanswered says
// for which datasets zfs gave no complete answer, or none in time, and why. Heads of a ZFS that does
// not tell the newest snapshot learn it here.
func (s Scanner) newest(ctx context.Context, r zfs.Reader, heads []zfs.Dataset, readAt time.Time) (found map[string]*zfs.Snapshot, unanswered map[string]string, err error) {
	found, unanswered = map[string]*zfs.Snapshot{}, map[string]string{}
	names := map[string]string{} // of the newest managed snapshot, by dataset
	list := map[string]zfs.Dataset{}
	late := map[string]string{} // those that there was no time for
	for _, h := range heads {
		m, remembered := s.Cache.recall(h, readAt)
		switch {
		case h.Problem != "", h.NewestSnapshot == "" && !h.NewestUnknown:
		case remembered && (m.snapshot != nil || m.name == ""):
			found[h.Name] = m.snapshot
		case remembered:
			names[h.Name] = m.name
		case checker.IsManaged(h.NewestSnapshot):
			names[h.Name] = h.NewestSnapshot
		default:
			list[h.Name] = h
		}
	}
	faults, err := s.lookUp(ctx, r, names, found, unanswered)
	ofAny, listed := map[string]string{}, map[string]string{}
	if err == nil && len(list) > 0 {
		// What takes long comes last, so that it costs only itself.
		if err = s.search(ctx, r, list, readAt, listed, ofAny, unanswered); err == nil {
			var more zfs.Faults
			more, err = s.lookUp(ctx, r, listed, found, unanswered)
			faults = faults.With(more)
		}
	}
	if err != nil {
		for _, h := range heads {
			_, open := list[h.Name]
			open = open || names[h.Name] != "" || listed[h.Name] != ""
			if open && found[h.Name] == nil && faults[h.Name] == "" && unanswered[h.Name] == "" {
				late[h.Name] = problemText(zfs.Pool(h.Name), err)
			}
		}
		if ctx.Err() == nil || len(late) == len(heads) {
			return nil, nil, err
		}
	}
	for i, h := range heads {
		heads[i].Problem = cmp.Or(h.Problem, faults[h.Name])
		if why := late[h.Name]; why != "" {
			unanswered[h.Name] = why
			continue // what was found out of it is remembered
		}
		if _, bad := unanswered[h.Name]; bad || heads[i].Problem != "" {
			s.Cache.forget(h.Name)
			continue
		}
		newest := h.NewestSnapshot
		if m, remembered := s.Cache.recall(h, readAt); h.NewestUnknown && remembered {
			newest = m.ofAny
		} else if h.NewestUnknown {
			newest = ofAny[h.Name]
		}
		if newest != "" || h.NewestUnknown {
			name := ""
			if found[h.Name] != nil {
				name = found[h.Name].Name
			}
			s.Cache.keep(h, readAt, newest, name, found[h.Name])
		}
		heads[i].NewestSnapshot = newest
	}
	return found, unanswered, nil
}

// quickListing is below which the listing of some disks makes the next one be of twice
// as many: few processes where it is quick, and little lost where one is given up.
const quickListing = 5 * time.Second

// search lists the snapshots of the heads whose newest one is not managed, some disks
// at a time, takes from list those that it is done with, and adds the newest managed one's
// name to names and that of whatever kind to ofAny. It remembers each at once: a pool that
// takes longer than there is time is read to its end in the end.
func (s Scanner) search(ctx context.Context, r zfs.Reader, list map[string]zfs.Dataset, readAt time.Time, names, ofAny, unanswered map[string]string) error {
	all := len(list)
	rest, size := sortedKeys(list), 1
	for len(rest) > 0 {
		some := rest[:min(size, len(rest))]
		began := s.Now()
		l := listing{heads: list, newest: map[string]zfs.SnapshotName{}, ofAny: map[string]zfs.SnapshotName{}, complete: map[string]bool{}}
		err := r.SnapshotNames(ctx, some, l.take)
		if err != nil && !zfs.OnlyMissing(err) {
			return fmt.Errorf("listed the snapshots of %d of %d disks so far: %w", all-len(rest), all, err)
		}
		for _, dataset := range some {
			h := list[dataset]
			ofAny[dataset] = l.ofAny[dataset].Name
			name := l.newest[dataset].Name
			why := l.lacks(dataset, err)
			delete(list, dataset)
			if why != "" {
				unanswered[dataset] = why
				continue
			}
			if name != "" {
				names[dataset] = name
			}
			s.Cache.keep(h, readAt, ofAny[dataset], name, nil)
		}
		rest = rest[len(some):]
		if s.Now().Sub(began) < quickListing {
			size *= 2
		}
	}
	return nil
}

// listing is what a list of snapshots tells. Of the snapshots it keeps only the newest:
// there may be a million.
type listing struct {
	heads map[string]zfs.Dataset
	// newest are the newest managed ones, ofAny those of whatever kind.
	newest, ofAny map[string]zfs.SnapshotName
	// complete are the datasets whose list holds what their head says is the newest.
	complete map[string]bool
}

func (l listing) take(n zfs.SnapshotName) error {
	h, asked := l.heads[n.Dataset]
	if !asked {
		return fmt.Errorf("%w: %s@%s was not asked for", zfs.ErrOutput, n.Dataset, n.Name)
	}
	if n.Name == h.NewestSnapshot {
		l.complete[n.Dataset] = true
	}
	if best, any := l.ofAny[n.Dataset]; !any || n.CreateTXG > best.CreateTXG {
		l.ofAny[n.Dataset] = n
	}
	_, managed := n.Class()
	if best, any := l.newest[n.Dataset]; managed && (!any || n.CreateTXG > best.CreateTXG) {
		l.newest[n.Dataset] = n
	}
	return nil
}

// lacks is why the dataset's list may not be whole, "" if it is; err is what zfs
// complained of.
func (l listing) lacks(dataset string, err error) string {
	h := l.heads[dataset]
	switch {
	case h.NewestUnknown && err != nil:
		return fmt.Sprintf("it is not known whether the list of its snapshots is whole: %v", err)
	case !h.NewestUnknown && !l.complete[dataset]:
		return fmt.Sprintf("the list of its snapshots lacks %s, which zfs says is the newest", h.NewestSnapshot)
	}
	return ""
}

// lookUp reads the named snapshots into found. The faults are those that asking again would
// not mend.
func (s Scanner) lookUp(ctx context.Context, r zfs.Reader, names map[string]string, found map[string]*zfs.Snapshot, unanswered map[string]string) (zfs.Faults, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var full []string
	for _, dataset := range sortedKeys(names) {
		full = append(full, dataset+"@"+names[dataset])
	}
	snapshots, err := r.Lookup(ctx, full)
	faults, some := errors.AsType[zfs.Faults](err)
	if err != nil && !some {
		return nil, err
	}
	for _, snapshot := range snapshots {
		if names[snapshot.Dataset] != snapshot.Name || found[snapshot.Dataset] != nil {
			return nil, fmt.Errorf("%w: %s was not asked for, or twice answered", zfs.ErrOutput, snapshot.FullName())
		}
		found[snapshot.Dataset] = &snapshot
	}
	for dataset, name := range names {
		if found[dataset] == nil && faults[dataset] == "" {
			unanswered[dataset] = fmt.Sprintf("zfs gave no answer for its newest snapshot %s", name)
		}
	}
	return faults, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
