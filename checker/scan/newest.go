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

// lookUpKnown finds the newest managed snapshots whose names are known from the heads or the
// cache. If no snapshots changed since the last scan, lookUpKnown runs no command.
func (s Scanner) lookUpKnown(ctx context.Context, r zfs.Reader, heads []zfs.Dataset, readAt time.Time) (*answers, error) {
	a := &answers{
		heads: heads, readAt: readAt, found: map[string]*zfs.Snapshot{}, unanswered: map[string]string{}, unlisted: map[string]string{},
		bounds: map[string]*zfs.Snapshot{}, list: map[string]zfs.Dataset{}, names: map[string]string{}, ofAny: map[string]string{},
	}
	known := map[string]string{}
	for _, h := range heads {
		e, remembered := s.Cache.recall(h, readAt)
		switch {
		case h.Problem != "", h.NewestSnapshot == "" && !h.NewestUnknown:
		case remembered && (e.snapshot != nil || e.name == ""):
			a.found[h.Name] = e.snapshot
		case remembered:
			a.names[h.Name] = e.name
		case checker.IsManaged(h.NewestSnapshot):
			a.names[h.Name] = h.NewestSnapshot
		default:
			a.list[h.Name] = h
			if name := s.Cache.managedBefore(h); name != "" {
				known[h.Name] = name
			}
		}
	}
	err := a.lookUp(ctx, r, a.names)
	if err == nil {
		// Errors about single snapshots are ignored, because the snapshots are listed later.
		a.bounds, _, _, err = lookUp(ctx, r, known)
	}
	if ctx.Err() == nil {
		err = nil
	}
	return a, err
}

// lookUp reads the newest managed snapshots of datasets by their names, or records why zfs gave no
// answer. lookUp returns an error if there was not enough time.
func (a *answers) lookUp(ctx context.Context, r zfs.Reader, names map[string]string) error {
	maps.Copy(a.names, names)
	found, faults, why, err := lookUp(ctx, r, names)
	if err != nil && ctx.Err() != nil {
		return err
	}
	for dataset := range names {
		if err != nil {
			a.unanswered[dataset] = problemText(zfs.Pool(dataset), err)
		}
	}
	maps.Copy(a.found, found)
	maps.Copy(a.unanswered, why)
	a.faults = a.faults.With(faults)
	return nil
}

// finish records why a head has no answer about its snapshots, and stores the answers about all
// other heads in the cache. err says why some heads were not read, nil if all heads were read.
// finish reports whether any head has an answer.
func (s Scanner) finish(a *answers, err error) bool {
	late := 0
	for i, h := range a.heads {
		_, open := a.list[h.Name]
		open = (open || a.names[h.Name] != "") && a.found[h.Name] == nil
		if err != nil && open && a.faults[h.Name] == "" && a.unanswered[h.Name] == "" {
			a.wait(h.Name, problemText(zfs.Pool(h.Name), err))
			if a.unlisted[h.Name] == "" {
				late++
			}
			continue // the cache keeps its entry of this head
		}
		a.heads[i].Problem = cmp.Or(h.Problem, a.faults[h.Name])
		if a.unanswered[h.Name] != "" || a.heads[i].Problem != "" {
			s.Cache.forget(h.Name, a.readAt)
			continue
		}
		newest := h.NewestSnapshot
		if e, remembered := s.Cache.recall(h, a.readAt); h.NewestUnknown && remembered {
			newest = e.ofAny
		} else if h.NewestUnknown {
			newest = a.ofAny[h.Name]
		}
		if newest != "" || h.NewestUnknown {
			name := ""
			if a.found[h.Name] != nil {
				name = a.found[h.Name].Name
			}
			s.Cache.keep(h, a.readAt, newest, name, a.found[h.Name])
		}
		a.heads[i].NewestSnapshot = newest
	}
	return late < len(a.heads) || late == 0
}

// wait records why a dataset's snapshots were not listed yet.
func (a *answers) wait(dataset, why string) {
	if bound := a.bounds[dataset]; bound != nil {
		a.found[dataset], a.unlisted[dataset] = bound, why
	} else {
		a.unanswered[dataset] = why
	}
}

// soFar returns a copy of the answers known so far, which other processes can use while lists are
// still read.
func (a *answers) soFar() *answers {
	some := &answers{
		heads: slices.Clone(a.heads), readAt: a.readAt, found: maps.Clone(a.found),
		unanswered: maps.Clone(a.unanswered), unlisted: map[string]string{}, bounds: a.bounds,
	}
	for i, h := range some.heads {
		some.heads[i].Problem = cmp.Or(h.Problem, a.faults[h.Name])
		if _, open := a.list[h.Name]; open {
			some.wait(h.Name, "another process is still listing its snapshots")
		}
	}
	return some
}

// quickListing is a duration: after a listing that took less, the next listing has twice as many
// disks. Long listings need fewer processes; a short one loses little if it is interrupted.
const quickListing = 5 * time.Second

// listRest lists the snapshots of the heads whose newest managed snapshot is unknown, some disks at
// a time, and looks up the newest managed snapshots in these lists. Slow disks come last, so that
// their slowness delays no other disk. Each answer is stored in the cache immediately, so that
// several runs together can read a pool that is too slow for one run. If zfs fails for several
// disks together, each disk is listed alone. listRest returns an error if time ran out.
func (s Scanner) listRest(ctx context.Context, r zfs.Reader, a *answers) error {
	all, began, size := len(a.list), s.Now(), 1
	rest := s.inOrder(a)
	slow := func(dataset string) bool { return s.Cache.isSlow(dataset, a.readAt) }
	for len(rest) > 0 {
		n := min(size, len(rest))
		if at := slices.IndexFunc(rest[:n], slow); at >= 0 {
			n = max(at, 1) // slow disks are listed alone
		}
		some, listed := rest[:n], s.Now()
		l := listing{heads: a.list, newest: map[string]zfs.SnapshotName{}, ofAny: map[string]zfs.SnapshotName{}, complete: map[string]bool{}}
		err := r.SnapshotNames(ctx, some, l.take)
		took := s.Now().Sub(listed)
		if ctx.Err() != nil && err != nil {
			if n == 1 && listed.Sub(began) <= took/10 {
				s.Cache.tookAll(some[0], a.readAt) // other disks used almost no time
			}
			return fmt.Errorf("listed the snapshots of %d of %d disks so far: %w", all-len(rest), all, err)
		}
		if err != nil && !zfs.OnlyMissing(err) && n > 1 {
			size = 1
			continue
		}
		s.Cache.wasListed(some, a.readAt)
		if err := s.lookUpListed(ctx, r, a, some, l, err); err != nil {
			return err
		}
		rest = rest[n:]
		if err == nil && took < quickListing {
			size *= 2
		}
	}
	return nil
}

// lookUpListed reads the newest managed snapshots that a listing of datasets found, or records
// why there is no answer. complaint is the error of zfs for this listing.
func (s Scanner) lookUpListed(ctx context.Context, r zfs.Reader, a *answers, datasets []string, l listing, complaint error) error {
	names := map[string]string{}
	for _, dataset := range datasets {
		h := a.list[dataset]
		a.ofAny[dataset] = l.ofAny[dataset].Name
		name := l.newest[dataset].Name
		if why := l.lacks(dataset, complaint); why != "" {
			a.unanswered[dataset] = why
		} else {
			s.Cache.keep(h, a.readAt, a.ofAny[dataset], name, nil)
			if name != "" {
				names[dataset] = name
			}
		}
		delete(a.list, dataset)
	}
	return a.lookUp(ctx, r, names)
}

// inOrder returns the datasets whose snapshots must be listed, in the order of listing. Datasets
// without a known managed snapshot come first, because their verdicts depend most on a list. The
// other datasets follow by the age of their newest known managed snapshot, the oldest first.
// Datasets whose last listing took nearly all the time of a scan come last.
func (s Scanner) inOrder(a *answers) []string {
	rest := sortedKeys(a.list)
	due := func(dataset string) (at time.Time) {
		if bound := a.bounds[dataset]; bound != nil {
			at = bound.Creation
		}
		return at
	}
	slices.SortStableFunc(rest, func(x, y string) int {
		if slow := s.Cache.isSlow(x, a.readAt); slow != s.Cache.isSlow(y, a.readAt) {
			if slow {
				return 1
			}
			return -1
		}
		return due(x).Compare(due(y))
	})
	return rest
}

// listing is the result of listing the snapshots of datasets. Only the newest snapshots are kept in
// memory, because a list may contain a million snapshots.
type listing struct {
	heads map[string]zfs.Dataset
	// By dataset, newest is the newest managed snapshot, and ofAny the newest, managed or not.
	newest, ofAny map[string]zfs.SnapshotName
	// complete has the datasets whose list of snapshots contains the snapshot that is the newest
	// one according to the head's properties.
	complete map[string]bool
}

func (l listing) take(n zfs.SnapshotName) error {
	h, asked := l.heads[n.Dataset]
	if !asked {
		return fmt.Errorf("%w: %s@%s was not requested", zfs.ErrOutput, n.Dataset, n.Name)
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

// lacks returns the reason why the list of a dataset's snapshots may be incomplete, "" if the list
// is complete. The argument err is the error of zfs for the listing.
func (l listing) lacks(dataset string, err error) string {
	h := l.heads[dataset]
	switch {
	case err != nil && !zfs.OnlyMissing(err):
		return err.Error()
	case h.NewestUnknown && err != nil:
		return fmt.Sprintf("the list of its snapshots may be incomplete: %v", err)
	case !h.NewestUnknown && !l.complete[dataset]:
		return fmt.Sprintf("the list of its snapshots lacks %s, which zfs says is the newest", h.NewestSnapshot)
	}
	return ""
}

// lookUp reads one snapshot of each dataset; names has the snapshot's name. The result faults has
// the failures that a second try would not repair; why has the reasons why zfs gave no answer.
func lookUp(ctx context.Context, r zfs.Reader, names map[string]string) (found map[string]*zfs.Snapshot, faults zfs.Faults, why map[string]string, err error) {
	found, why = map[string]*zfs.Snapshot{}, map[string]string{}
	if len(names) == 0 {
		return found, nil, why, nil
	}
	var full []string
	for _, dataset := range sortedKeys(names) {
		full = append(full, dataset+"@"+names[dataset])
	}
	snapshots, err := r.Lookup(ctx, full)
	faults, some := errors.AsType[zfs.Faults](err)
	if err != nil && !some && !zfs.Complained(err) {
		return found, nil, why, err
	}
	for _, snapshot := range snapshots {
		if names[snapshot.Dataset] != snapshot.Name || found[snapshot.Dataset] != nil {
			return map[string]*zfs.Snapshot{}, nil, why, fmt.Errorf("%w: %s was not requested, or is in the answer twice", zfs.ErrOutput, snapshot.FullName())
		}
		found[snapshot.Dataset] = &snapshot
	}
	for dataset, name := range names {
		if found[dataset] == nil && faults[dataset] == "" {
			why[dataset] = fmt.Sprintf("zfs gave no answer for its newest snapshot %s", name)
			if err != nil && !some {
				why[dataset] += ": " + err.Error()
			}
		}
	}
	return found, faults, why, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
