package run

import (
	"context"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// recordsTimeout is the time for which a run waits while other runs save their records.
const recordsTimeout = 10 * time.Second

// record completes the records of the run, saves them, and must be called while the run still has
// the locks of its pools. The records are the report and, after a run of snap, the state for the
// next run. Runs for other datasets may have saved their records since this run began. The method
// `record` therefore reads the saved records again and passes them to the function `complete`.
// `complete` changes only the entries of disks, guests and pools on which this run worked. The
// records are locked while `complete` runs, so `complete` must not wait for anything.
func (r *run) record(complete func(report.Run, report.State)) {
	if r.DryRun || r.Final {
		complete(r.latest(), savedState(r.World, r.state))
		return
	}
	release, err := lockRecords(r.World)
	if err != nil {
		complete(r.latest(), savedState(r.World, r.state))
		r.problem(report.Warning, "the report of this run could not be saved: %v", err)
		return
	}
	defer release()
	complete(r.latest(), savedState(r.World, r.state))
	if r.name == report.Name {
		if err := r.World.SaveState(r.state); err != nil {
			// Without state.json, the next run must read more from ZFS.
			r.problem(report.Warning, "the state for the next run could not be saved: %v", err)
		}
	}
	r.save()
}

// lockRecords takes the lock of the records that runs save.
func lockRecords(w World) (release func(), err error) {
	ctx, cancel := w.Timeout(context.Background(), recordsTimeout)
	defer cancel()
	return w.LockRecords(ctx)
}

// latest returns the report that is saved now, of the last run of the same command.
func (r *run) latest() report.Run {
	latest, err := r.World.LastReport(r.name)
	if err != nil {
		return r.previous
	}
	return latest
}

// savedState returns the state that is saved now, by the last run of snap. If the saved state
// cannot be read, savedState returns the argument `loaded`, the state at the beginning of this run.
func savedState(w World, loaded report.State) report.State {
	saved, err := w.LoadState()
	if err != nil {
		return loaded
	}
	return saved
}

// save writes the report of the run. A hook that ends after this call may add problems to the
// report.
func (r *run) save() {
	kept := r.sofar()
	r.reported = len(kept.Problems)
	if err := r.World.SaveReport(r.name, &kept); err != nil {
		r.problem(report.Warning, "the report of this run could not be saved: %v", err)
	}
}

// endHooks waits until all hooks have ended and reports their problems. endHooks also adds the
// problems of the hooks to the saved report, unless a later run has replaced this report.
func (r *run) endHooks() {
	r.hooks.end()
	if len(r.report.Problems) == r.reported {
		return
	}
	r.tell()
	release, err := lockRecords(r.World)
	if err != nil {
		return
	}
	defer release()
	if kept, err := r.World.LastReport(r.name); err == nil && kept.Start.Equal(r.report.Start) {
		r.save()
	}
}

// merge adds to the report of this run the entries of `latest`, the saved report, about pools,
// datasets and guests on which this run did not work.
func (r *run) merge(latest report.Run, pools []*pool) {
	now := r.World.Now()
	entered := func(name string) bool {
		return slices.ContainsFunc(r.report.Pools, func(p report.Pool) bool { return p.Pool == name })
	}
	maps.DeleteFunc(r.report.Sightings, func(name string, _ report.Sighting) bool { return !entered(name) })
	r.report.Sightings = merged(latest.SightingsAt(now), r.report.Sightings, entered)
	r.report.Rooms = merged(latest.RoomsAt(now), r.report.Rooms, func(name string) bool { _, own := r.report.Rooms[name]; return own })
	before, backlogs := latest.BacklogsAt(now), map[string]report.Backlog{}
	for _, p := range worked(pools) {
		backlogs[p.place()] = before[p.place()].With(len(p.due), r.start)
	}
	r.report.Backlogs = merged(before, backlogs, func(place string) bool {
		return slices.ContainsFunc(worked(pools), func(p *pool) bool { return p.overlaps(place) })
	})
	r.report.Interrupted = merged(latest.InterruptedAt(now), r.report.Interrupted, func(dataset string) bool {
		return slices.ContainsFunc(readable(pools), func(p *pool) bool {
			seen := slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.Name == dataset })
			return seen || !p.partly && zfs.WithinAny(dataset, p.parents)
		})
	})
	if last := latest.SuccessBefore(now); last.After(r.report.LastSuccess) {
		r.report.LastSuccess = last
	}
}

// merged returns the saved entries and the entries of this run. A saved entry is left out if the
// function `mine` returns true for the key of the entry.
func merged[V any](saved, own map[string]V, mine func(key string) bool) map[string]V {
	next := map[string]V{}
	maps.Copy(next, saved)
	maps.DeleteFunc(next, func(key string, _ V) bool { return mine(key) })
	maps.Copy(next, own)
	return next
}

// worked returns the pools that could be read, and for which the run made a plan.
func worked(pools []*pool) []*pool {
	return slices.DeleteFunc(readable(pools), func(p *pool) bool { return !p.carriedOut })
}
