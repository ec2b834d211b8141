package exporter

import (
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

var (
	runStart = newMetric("run_last_start_timestamp_seconds",
		"When the last run of snap on this host began.")
	runEnd = newMetric("run_last_completion_timestamp_seconds",
		"When the last run of snap on this host ended.")
	runLastSuccess = newMetric("run_last_success_timestamp_seconds",
		"When snap last gave every running guest's disk what was due, and old snapshots did not pile up. Absent if it never did.")
	runDuration = newMetric("run_duration_seconds",
		"How long the last run of snap took.")
	runSuccess = newMetric("run_success",
		"1 if the last run of snap gave every running guest's disk what was due, and old snapshots did not pile up, else 0.")
	runActions = newMetric("run_actions",
		"What the last run of snap did, by kind; failure counts what went wrong.", "action")
	runExpected = newMetric("run_expected",
		"1 if snap is registered on this host, in cron or as a timer, else 0.")
	runLimit = newMetric("run_limit_seconds",
		"How long ago the last good run of snap may have ended: three times the longest time between two starts by cron on this host. If the longest time is not known, for example because a timer starts snap, it counts as a quarter of an hour.")
	runUnprotected = newMetric("run_unprotected_disks",
		"Disks of running guests that the last run of snap could not cover, by reason.", "reason")
	runFrozen = newMetric("run_frozen_seconds",
		"The longest time for which a guest was frozen when snap last took its snapshot. Only for guests under quiesce.", "vmid")
	runQuiesced = newMetric("run_quiesced",
		"1 if a guest was frozen until all its disks had their last snapshot, 0 if its snapshot is only crash-consistent, or torn. Only for guests under quiesce.", "vmid")
	runLeftFrozen = newMetric("run_left_frozen",
		"Guests that the last run of snap or an earlier run froze, and that may still be frozen.")
	runDue = newMetric("run_due_snapshots",
		"Snapshots that snap should have destroyed and did not when it last read the pool, without held and cloned ones. Absent if that was more than 8 days ago.", "pool")
	runLocked = newMetric("run_locked_guests",
		"Guests that Proxmox had locked for more than an hour at the last run of snap, so that the run rotated no snapshots of these guests.")
	runReserves = newMetric("run_snapshot_reserve_bytes",
		"The space that the snapshots of thick volumes (refreservation) of running guests reserved at the last run of snap. Absent if no recent run has read the pool's free space.", "pool")
	runShort = newMetric("run_short_of_room",
		"1 if the pool may lack the room for the next snapshots of thick volumes, as the last run of snap saw it, else 0. Absent if no recent run has read the pool's free space.", "pool")
	runReadable = newMetric("run_report_readable",
		"1 if the report of the last run could be read, or there is none, else 0.")
)

// runCatalogue lists the metrics about the last run of snap.
var runCatalogue = []metric{runStart, runEnd, runLastSuccess, runDuration, runSuccess, runActions, runExpected, runLimit, runUnprotected, runFrozen, runQuiesced, runLeftFrozen, runDue, runLocked, runReserves, runShort, runReadable}

// Runs contains the functions with which the exporter reads about the runs of snap, or of prune,
// on this host.
type Runs struct {
	// Last reads the report of the last run. If there is no report, Last returns an error that
	// wraps fs.ErrNotExist.
	Last func() (report.Run, error)
	// Expected reports whether a timer or cron starts the command on this host.
	Expected func() bool
	// Limit returns the time since the end of the last good run above which an alarm is due. Limit
	// may be nil.
	Limit func() time.Duration
}

// runCollector turns the report of the last run of snap, or of prune, into metrics. Each scrape
// reads the report again.
type runCollector struct {
	Runs
	metrics                   []metric
	expected, limit, readable metric
	// send is the function that sends the metrics which exist only for snap, or only for prune.
	send func(sink, report.Run)
}

// Describe implements [prometheus.Collector].
func (c runCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c runCollector) Collect(ch chan<- prometheus.Metric) {
	out := newSink(ch)
	if c.Expected != nil {
		out.send(c.expected, boolValue(c.Expected()))
	}
	if c.Limit != nil {
		out.send(c.limit, c.Limit().Seconds())
	}
	last, err := c.Last()
	out.send(c.readable, boolValue(err == nil || errors.Is(err, fs.ErrNotExist)))
	if err == nil {
		c.send(out, last)
	}
}

func snapCollector(r Runs) runCollector {
	return runCollector{r, runCatalogue, runExpected, runLimit, runReadable, sendRun}
}

func sendRun(out sink, last report.Run) {
	out.send(runStart, seconds(last.Start))
	out.send(runEnd, seconds(last.End))
	out.send(runDuration, last.End.Sub(last.Start).Seconds())
	out.send(runSuccess, boolValue(last.Success))
	if !last.LastSuccess.IsZero() {
		out.send(runLastSuccess, seconds(last.LastSuccess))
	}
	for _, event := range report.Events() {
		out.send(runActions, float64(last.Counts[event]), string(event))
	}
	unprotected := last.UnprotectedByKind()
	for _, kind := range report.Kinds() {
		out.send(runUnprotected, float64(unprotected[kind]), string(kind))
	}
	out.send(runLocked, float64(last.Locked))
	sendDue(out, runDue, last)
	sendRoom(out, last)
	out.send(runLeftFrozen, float64(len(last.LeftFrozen)))
	var guests report.Run // with one entry for each guest, even if the file has several
	for _, q := range last.Quiesced {
		guests.AddQuiesced(q)
	}
	for _, q := range guests.Quiesced {
		vmid := strconv.Itoa(q.VMID)
		out.send(runFrozen, q.Seconds, vmid)
		out.send(runQuiesced, boolValue(q.Consistent == report.Application), vmid)
	}
}

// sendDue sends, for each pool, the number of snapshots that are due to be destroyed.
func sendDue(out sink, due metric, last report.Run) {
	pools := map[string]int{}
	for place, b := range last.Backlogs {
		pools[zfs.Pool(place)] += b.Due
	}
	for pool, n := range pools {
		out.send(due, float64(n), pool)
	}
}

// sendRoom sends the space that each pool had for snapshots during the last run.
func sendRoom(out sink, last report.Run) {
	for pool, room := range last.Rooms {
		out.send(runReserves, float64(room.Reserves), pool)
		out.send(runShort, boolValue(room.Short != ""), pool)
	}
}

// WriteTextfile writes the metrics of one run of snap for the textfile collector of
// node_exporter, and replaces the file atomically. node_exporter reads only files whose path ends
// in .prom.
func WriteTextfile(path string, run report.Run) error {
	return writeTextfile(path, snapCollector(onlyRun(run)))
}

// onlyRun returns the [Runs] of a host on which only one run has happened: the argument `run`.
func onlyRun(run report.Run) Runs {
	return Runs{Last: func() (report.Run, error) { return run, nil }}
}

func writeTextfile(path string, c prometheus.Collector) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		return err
	}
	return prometheus.WriteToTextfile(path, registry)
}
