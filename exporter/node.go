package exporter

import (
	"errors"
	"io/fs"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Living reports whether a guest's process is alive on this host, and since when. since is zero
// if the time is unknown. alive is false if the lookup of the guest's process fails.
type Living func(vmid int) (since time.Time, alive bool)

// lookUpOnce returns a function with the same results as l. The returned function looks up each
// guest's process only once. If l is nil, the returned function reports that no guest is alive.
func (l Living) lookUpOnce() Living {
	type life struct {
		since time.Time
		alive bool
	}
	seen := map[int]life{}
	return func(vmid int) (time.Time, bool) {
		is, known := seen[vmid]
		if !known && l != nil {
			is.since, is.alive = l(vmid)
			seen[vmid] = is
		}
		return is.since, is.alive
	}
}

// tellLiving adds to an answer, for each disk that the asker considers stopped, whether the
// disk's guest is alive.
func tellLiving(request checker.CompareRequest, answer checker.CompareAnswer, living Living) {
	for i := range answer.Disks {
		d := &answer.Disks[i]
		class, managed := zfs.ParseSnapshotName(request.Disks[i].Newest.Name)
		if d.Owned != checker.Owned || !managed || class != zfs.Stopped {
			continue
		}
		vmid, _, _ := zfs.ParseDiskName(d.Disk)
		since, alive := living(vmid)
		d.Alive = alive
		if alive && !since.IsZero() {
			d.AliveSince = &since
		}
	}
}

// snapMissing reports whether this node has disks of its own guests and nothing starts snap: snap
// is not registered, and has not run within the warning limit. After a recent run, snapMissing
// returns false, because somebody starts snap in another way.
func (s *Store) snapMissing(owners pve.Owners) bool {
	runs := s.settings.Runs
	if runs.Expected == nil || runs.Expected() || !s.ownsDisks(owners) {
		return false
	}
	last, err := runs.Last()
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	ago := s.settings.Scanner.Now().Sub(last.End)
	return ago < 0 || ago > s.config().Limits.Warning.Std()
}

// ownsDisks reports whether this node has a disk of one of its own guests. Copies do not count.
func (s *Store) ownsDisks(owners pve.Owners) bool {
	for _, pool := range s.current() {
		for i := range pool.Disks {
			if d := &pool.Disks[i]; owners.Here(d.VMID) && !checker.IsCopy(s.config(), d.Dataset) {
				return true
			}
		}
	}
	return false
}

var (
	runUnregistered = newMetric("run_unregistered",
		"1 if disks of guests that are configured on this host are here and nothing starts snap: it is not registered, and has not run within limits.warning; else 0. Absent where it is not known which guests are configured here.")
	started = newMetric("start_timestamp_seconds",
		"When this exporter started. It distinguishes two exporters that are scraped under the same labels.")
	booted = newMetric("boot_timestamp_seconds",
		"When this host was started, by its clock now. Absent where that is not known.")
	configReloaded = newMetric("config_last_reload_successful",
		"1 if the configuration's file, as it was last read, is in force; 0 if it is faulty or gone, and the last good one stays in force.")
	maintenanceExpired = newMetric("maintenance_expired",
		"How many entries under maintenance: in the configuration are over, and silence nothing any more.")
	memoryKept = newMetric("memory_kept",
		"1 if the disks seen on this host are remembered over a restart, so that a disk that disappears is reported missing; 0 if they or the cache could not be written to the state directory, or for a day after what was remembered was lost.")
)

// nodeCatalogue lists the metrics about the host itself.
var nodeCatalogue = []metric{runUnregistered, started, booted, configReloaded, maintenanceExpired, memoryKept}

// nodeCollector sends the metrics about the host itself.
type nodeCollector struct{ store *Store }

// uptime returns the time since the host was started.
func (s *Store) uptime() (time.Duration, error) {
	if s.settings.Uptime == nil {
		return 0, errors.ErrUnsupported
	}
	return s.settings.Uptime()
}

// Describe implements [prometheus.Collector].
func (nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range nodeCatalogue {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	out, s := newSink(ch), c.store
	now := s.settings.Scanner.Now()
	if owners := s.guests.known(); owners != nil {
		out.send(runUnregistered, boolValue(s.snapMissing(*owners)))
	}
	out.send(started, seconds(s.started))
	if up, err := s.uptime(); err == nil {
		out.send(booted, seconds(now.Add(-up)))
	}
	out.send(configReloaded, boolValue(len(s.configNotes()) == 0))
	out.send(memoryKept, boolValue(s.remembers(now)))
	over := 0
	for _, m := range s.config().Maintenance {
		if !now.Before(m.Until) {
			over++
		}
	}
	out.send(maintenanceExpired, float64(over))
}
