package checker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// newest finds each head's newest managed snapshot, nil for none. It asks only for
// what is not remembered: nothing at all where nothing changed. unanswered says
// for which datasets zfs gave no complete answer, and why. Heads of a ZFS that does
// not tell the newest snapshot learn it here.
func (s Scanner) newest(ctx context.Context, r zfs.Reader, heads []zfs.Head, readAt time.Time) (found map[string]*zfs.Snapshot, unanswered map[string]string, err error) {
	found, unanswered = map[string]*zfs.Snapshot{}, map[string]string{}
	names := map[string]string{} // of the newest managed snapshot, by dataset
	list := map[string]zfs.Head{}
	for _, h := range heads {
		m, remembered := s.Memory.recall(h, readAt)
		_, managed := zfs.ParseSnapshotName(h.NewestSnapshot)
		switch {
		case h.NewestSnapshot == "" && !h.NewestUnknown:
		case remembered && (m.snapshot != nil || m.name == ""):
			found[h.Name] = m.snapshot
		case remembered:
			names[h.Name] = m.name
		case managed:
			names[h.Name] = h.NewestSnapshot
		default:
			list[h.Name] = h
		}
	}
	ofAny, err := s.search(ctx, r, list, names, unanswered)
	if err != nil {
		return nil, nil, err
	}
	if err := s.lookUp(ctx, r, names, found, unanswered); err != nil {
		return nil, nil, err
	}
	for i, h := range heads {
		if _, bad := unanswered[h.Name]; bad {
			s.Memory.forget(h.Name)
			continue
		}
		newest := h.NewestSnapshot
		if m, remembered := s.Memory.recall(h, readAt); h.NewestUnknown && remembered {
			newest = m.ofAny
		} else if h.NewestUnknown {
			newest = ofAny[h.Name]
		}
		if newest != "" || h.NewestUnknown {
			s.Memory.keep(h, readAt, newest, found[h.Name])
		}
		heads[i].NewestSnapshot = newest
	}
	return found, unanswered, nil
}

// search lists the snapshots of the heads whose newest one is not managed, and adds
// the newest managed one's name to names. A list is complete if it holds the
// snapshot that the head said is the newest. It returns the newest of whatever kind,
// too. Of the snapshots it keeps only these: there may be a million.
func (s Scanner) search(ctx context.Context, r zfs.Reader, list map[string]zfs.Head, names map[string]string, unanswered map[string]string) (ofAny map[string]string, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	newest, all := map[string]zfs.SnapshotName{}, map[string]zfs.SnapshotName{}
	complete := map[string]bool{}
	err = r.SnapshotNames(ctx, sortedKeys(list), func(n zfs.SnapshotName) error {
		h, asked := list[n.Dataset]
		if !asked {
			return fmt.Errorf("%w: %s@%s was not asked for", zfs.ErrOutput, n.Dataset, n.Name)
		}
		if n.Name == h.NewestSnapshot {
			complete[n.Dataset] = true
		}
		if best, any := all[n.Dataset]; !any || n.CreateTXG > best.CreateTXG {
			all[n.Dataset] = n
		}
		_, managed := n.Class()
		if best, any := newest[n.Dataset]; managed && (!any || n.CreateTXG > best.CreateTXG) {
			newest[n.Dataset] = n
		}
		return nil
	})
	if err != nil && !zfs.OnlyMissing(err) {
		return nil, err
	}
	ofAny = map[string]string{}
	for dataset, h := range list {
		if n, any := newest[dataset]; any {
			names[dataset] = n.Name
		}
		ofAny[dataset] = all[dataset].Name
		switch {
		case h.NewestUnknown && err != nil:
			delete(names, dataset)
			unanswered[dataset] = fmt.Sprintf("it is not known whether the list of its snapshots is whole: %v", err)
		case !h.NewestUnknown && !complete[dataset]:
			delete(names, dataset)
			unanswered[dataset] = fmt.Sprintf("the list of its snapshots lacks %s, which zfs says is the newest", h.NewestSnapshot)
		}
	}
	return ofAny, nil
}

// lookUp reads the named snapshots into found.
func (s Scanner) lookUp(ctx context.Context, r zfs.Reader, names map[string]string, found map[string]*zfs.Snapshot, unanswered map[string]string) error {
	var full []string
	for _, dataset := range sortedKeys(names) {
		full = append(full, dataset+"@"+names[dataset])
	}
	snapshots, err := r.Lookup(ctx, full)
	if err != nil {
		return err
	}
	for _, snapshot := range snapshots {
		if names[snapshot.Dataset] != snapshot.Name || found[snapshot.Dataset] != nil {
			return fmt.Errorf("%w: %s was not asked for, or twice answered", zfs.ErrOutput, snapshot.FullName())
		}
		found[snapshot.Dataset] = &snapshot
	}
	for dataset, name := range names {
		if found[dataset] == nil {
			unanswered[dataset] = fmt.Sprintf("zfs gave no answer for its newest snapshot %s", name)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
