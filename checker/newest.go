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
// for which datasets zfs gave no complete answer, and why.
func (s Scanner) newest(ctx context.Context, r zfs.Reader, heads []zfs.Head, readAt time.Time) (found map[string]*zfs.Snapshot, unanswered map[string]string, err error) {
	found, unanswered = map[string]*zfs.Snapshot{}, map[string]string{}
	names := map[string]string{} // of the newest managed snapshot, by dataset
	list := map[string]zfs.Head{}
	for _, h := range heads {
		m, remembered := s.Memory.recall(h, readAt)
		_, managed := zfs.ParseSnapshotName(h.NewestSnapshot)
		switch {
		case h.NewestSnapshot == "":
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
	if err := s.search(ctx, r, list, names, unanswered); err != nil {
		return nil, nil, err
	}
	if err := s.lookUp(ctx, r, names, found, unanswered); err != nil {
		return nil, nil, err
	}
	for _, h := range heads {
		if _, bad := unanswered[h.Name]; bad {
			s.Memory.forget(h.Name)
		} else if h.NewestSnapshot != "" {
			s.Memory.keep(h, readAt, found[h.Name])
		}
	}
	return found, unanswered, nil
}

// search lists the snapshots of the heads whose newest one is not managed, and adds
// the newest managed one's name to names. A list is complete if it holds the
// snapshot that the head said is the newest.
func (s Scanner) search(ctx context.Context, r zfs.Reader, list map[string]zfs.Head, names map[string]string, unanswered map[string]string) error {
	if len(list) == 0 {
		return nil
	}
	newest, complete := map[string]zfs.SnapshotName{}, map[string]bool{}
	err := r.SnapshotNames(ctx, sortedKeys(list), func(n zfs.SnapshotName) error {
		h, asked := list[n.Dataset]
		if !asked {
			return fmt.Errorf("%w: %s@%s was not asked for", zfs.ErrOutput, n.Dataset, n.Name)
		}
		if n.Name == h.NewestSnapshot {
			complete[n.Dataset] = true
		}
		_, managed := n.Class()
		if best, any := newest[n.Dataset]; managed && (!any || n.CreateTXG > best.CreateTXG) {
			newest[n.Dataset] = n
		}
		return nil
	})
	if err != nil && !zfs.OnlyMissing(err) {
		return err
	}
	for dataset, h := range list {
		if n, any := newest[dataset]; any {
			names[dataset] = n.Name
		}
		if !complete[dataset] {
			delete(names, dataset)
			unanswered[dataset] = fmt.Sprintf("the list of its snapshots lacks %s, which zfs says is the newest", h.NewestSnapshot)
		}
	}
	return nil
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
