package exporter

import (
	"snapwatch/internal/report"
)

var (
	pruneEnd = newMetric("prune_last_completion_timestamp_seconds",
		"When the last run of prune on this host ended. Absent if there was none.")
	pruneLastSuccess = newMetric("prune_last_success_timestamp_seconds",
		"When prune last could read all pools and destroy what was due. Absent if it never could.")
	pruneFailures = newMetric("prune_failures",
		"How many things went wrong in the last run of prune.")
	pruneDestroyed = newMetric("prune_destroyed_snapshots",
		"How many snapshots the last run of prune destroyed.")
	pruneDue = newMetric("prune_due_snapshots",
		"Snapshots that prune should have destroyed and did not when it last read the pool, without held and cloned ones. Absent if that was more than 8 days ago.", "pool")
	pruneExpected = newMetric("prune_expected",
		"1 if prune is registered in cron on this host, else 0.")
	pruneLimit = newMetric("prune_limit_seconds",
		"How long ago the last good run of prune may have ended: four hours plus twice the longest time between two starts by cron on this host. If the longest time is not known, it counts as an hour.")
	pruneReadable = newMetric("prune_report_readable",
		"1 if the report of the last run of prune could be read, or there is none, else 0.")
)

// pruneCatalogue lists the metrics about the last run of prune.
var pruneCatalogue = []metric{pruneEnd, pruneLastSuccess, pruneFailures, pruneDestroyed, pruneDue, pruneExpected, pruneLimit, pruneReadable}

func pruneCollector(r Runs) runCollector {
	return runCollector{r, pruneCatalogue, pruneExpected, pruneLimit, pruneReadable, sendPrune}
}

func sendPrune(out sink, last report.Run) {
	out.send(pruneEnd, seconds(last.End))
	out.send(pruneFailures, float64(last.Counts[report.DidFail]))
	out.send(pruneDestroyed, float64(last.Counts[report.DidDestroy]))
	sendDue(out, pruneDue, last)
	if !last.LastSuccess.IsZero() {
		out.send(pruneLastSuccess, seconds(last.LastSuccess))
	}
}

// WritePruneTextfile writes the metrics of a run of prune, as [WriteTextfile] does for a run of
// snap.
func WritePruneTextfile(path string, run report.Run) error {
	return writeTextfile(path, pruneCollector(onlyRun(run)))
}
