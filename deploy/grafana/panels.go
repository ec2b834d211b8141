package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// row is a group of panels in the dashboard.
type row struct {
	title  string
	panels []cog.Builder[dashboard.Panel]
}

const (
	// aTarget and aDisk are the labels that identify a target and a disk, as in the alert rules.
	// A target that Prometheus scrapes twice, or by federation, counts once.
	aTarget   = "job, cluster, site, instance"
	aDisk     = aTarget + ", pool, dataset, disk, vmid"
	perTarget = "max by (" + aTarget + ") "
	perPool   = "max by (" + aTarget + ", pool) "
	perDisk   = "max by (" + aDisk + ") "

	// silent selects disks whose verdict does not depend on the age of the newest snapshot.
	silent = `on (` + aDisk + `) snapwatch_disk_state{state=~"unreadable|missing|receiving|excluded|stopped"} == 1`
	// lag is the time by which each copy is behind the freshest copy of the same disk, as in the alert
	// SnapwatchLag.
	lag = `max by (origin_cluster, origin_dataset, disk) (snapwatch:disk_newest_snapshot_timestamp_seconds:known)
- on (origin_cluster, origin_dataset, disk) group_right ()
snapwatch:disk_newest_snapshot_timestamp_seconds:known{site=~"$site"}`
)

func rows() []row {
	return []row{
		{"Sites", []cog.Builder[dashboard.Panel]{
			number("Stale", "Disks whose newest snapshot is older than a limit.", "count("+perDisk+`(snapwatch_disk_state{site=~"$site", state="stale"}) == 1) or vector(0)`),
			number("Missing, damaged or unreadable", "Disks that are gone, have permanent errors, or cannot be read.", "count("+perDisk+`(snapwatch_disk_state{site=~"$site", state=~"missing|damaged|unreadable"}) == 1) or vector(0)`),
			number("Pools not well", "Pools that cannot be read, lack a dataset that the configuration names, have errors, lack a device, need a scrub or are nearly full.", "count("+perPool+`(snapwatch_pool_state{site=~"$site", state="ok"}) == 0) or vector(0)`),
			number("Late runs", "Nodes where snap is registered and had no good run for three periods.", "count("+perTarget+`(ALERTS{alertname="SnapwatchRunLate", site=~"$site", alertstate="firing"})) or vector(0)`),
			number("Exporters down", "Targets of the job snapwatch that do not answer.", "count("+perTarget+`(up{job="snapwatch", site=~"$site"}) == 0) or vector(0)`),
			number("Running disks without snapshots", "Volumes of running guests that snap cannot cover.", "sum(max by ("+aTarget+`, reason) (snapwatch_run_unprotected_disks{site=~"$site"})) or vector(0)`),
			list("Disks by verdict", "How many disks of each exporter have each verdict.",
				"count by (site, instance, state) (max by ("+aDisk+`, state) (snapwatch_disk_state{site=~"$site"}) == 1)`),
			lines("Verdicts", "How many disks have each verdict, over time.", "short",
				query{"count by (state) (max by (" + aDisk + `, state) (snapwatch_disk_state{site=~"$site"}) == 1)`, "{{state}}"}),
		}},
		{"Replication", []cog.Builder[dashboard.Panel]{
			lines("Lag, the ten worst", "How far a copy is behind the freshest copy of the same disk. A guest that is off has no lag, whatever the age.", "s",
				query{"topk(10, " + lag + ")", "{{dataset}} on {{instance}}"}),
			lines("Age, the ten worst", "Age of the newest snapshot of the disks whose age is judged.", "s",
				query{"topk(10, time() - " + perDisk + `(snapwatch_disk_newest_snapshot_timestamp_seconds{site=~"$site"}) unless ` + silent + `)`, "{{dataset}} on {{instance}}"}),
		}},
		{"Pools", []cog.Builder[dashboard.Panel]{
			list("Pools by verdict", "The verdicts on each pool now.",
				`max by (site, instance, pool, state) (snapwatch_pool_state{site=~"$site"} == 1)`),
			lines("Space taken", "How much of each pool is taken.", "percentunit",
				query{perPool + `(snapwatch_pool_fill_ratio{site=~"$site"})`, "{{pool}} on {{instance}}"}),
			lines("Time since the last scrub", "How long ago the last scrub of each pool ended.", "s",
				query{"time() - " + perPool + `(snapwatch_pool_last_scrub_timestamp_seconds{site=~"$site"})`, "{{pool}} on {{instance}}"}),
		}},
		{"Guests and owners", []cog.Builder[dashboard.Panel]{
			number("Absent disks", "Disks that owners take snapshots of and that are not on a replica.", "sum(max by ("+aTarget+`, severity) (snapwatch_absent_disks{site=~"$site"})) or vector(0)`),
			number("Silent owners", "Owners that do not answer a replica.", "count(max by ("+aTarget+`, node) (snapwatch_owner_answers{site=~"$site"}) == 0) or vector(0)`),
			number("Copies at odds", "Copies that have diverged from their owner, or that have no clear owner.", "count("+perDisk+`(snapwatch_disk_comparison{site=~"$site", outcome=~"diverged|no owner|two owners|owner unreadable"}) == 1) or vector(0)`),
			number("Damaged guests", "Guests with permanent errors in a disk.", "count(max by ("+aTarget+`, origin_cluster, vmid) (snapwatch_guest_state{site=~"$site", state="damaged"}) == 1) or vector(0)`),
			number("Failed drills", "Guests in whose copies a drill found a fault.", "count(max by ("+aTarget+`, origin_cluster, vmid) (snapwatch_guest_proof_state{site=~"$site", state="failed"}) == 1) or vector(0)`),
			list("Guests by verdict", "How many guests of each exporter have each verdict.",
				"count by (site, instance, state) (max by ("+aTarget+`, origin_cluster, vmid, state) (snapwatch_guest_state{site=~"$site"}) == 1)`),
			lines("Restore points, the ten oldest", "Age of the newest time of which all disks of a guest have a snapshot.", "s",
				query{"topk(10, time() - max by (" + aTarget + `, origin_cluster, vmid) (snapwatch_guest_restore_point_timestamp_seconds{site=~"$site"}))`, "{{vmid}} of {{origin_cluster}} on {{instance}}"}),
			lines("Proofs, the ten oldest", "Time since the last drill that found no fault in a guest's copies.", "s",
				query{"topk(10, time() - max by (" + aTarget + `, origin_cluster, vmid) (snapwatch_guest_proof_timestamp_seconds{site=~"$site"}))`, "{{vmid}} of {{origin_cluster}} on {{instance}}"}),
		}},
		{"Guest $vmid", []cog.Builder[dashboard.Panel]{
			list("Copies of its disks", "The verdict on each copy now.",
				`max by (site, instance, dataset, state) (snapwatch_disk_state{site=~"$site", vmid=~"$vmid"} == 1)`),
			lines("Age of each copy", "Age of the newest snapshot, and the limit beyond which it is critical.", "s",
				query{"time() - " + perDisk + `(snapwatch_disk_newest_snapshot_timestamp_seconds{site=~"$site", vmid=~"$vmid"})`, "{{dataset}} on {{instance}}"},
				query{`max(snapwatch_disk_limit_seconds{site=~"$site", vmid=~"$vmid", severity="critical"})`, "critical"}),
			lines("Lag of each copy", "How far each copy is behind the freshest one.", "s",
				query{"(" + lag + `) and on (` + aDisk + `) snapwatch_disk_info{vmid=~"$vmid"}`, "{{dataset}} on {{instance}}"}),
			list("Newest snapshots", "The suffix of each copy's newest snapshot; stopped means that the guest was off.",
				`max by (site, instance, dataset, suffix) (snapwatch_disk_newest_snapshot_suffix{site=~"$site", vmid=~"$vmid"} == 1)`),
		}},
		{"Runs and scans", []cog.Builder[dashboard.Panel]{
			lines("Since the last good run", "Time since snap gave every running guest's disk what was due.", "s",
				query{"time() - " + perTarget + `(snapwatch_run_last_success_timestamp_seconds{site=~"$site"})`, "{{instance}}"}),
			lines("Duration of the runs", "How long the last run of snap took.", "s",
				query{perTarget + `(snapwatch_run_duration_seconds{site=~"$site"})`, "{{instance}}"}),
			lines("What the runs did", "Snapshots, destroys, labels, bookmarks and failures of the last run.", "short",
				query{"sum by (action) (max by (" + aTarget + `, action) (snapwatch_run_actions{site=~"$site"}))`, "{{action}}"}),
			lines("Scans of the pools", "How long the last scan of each pool took. Its cost grows with the disks, not with the snapshots.", "s",
				query{perPool + `(snapwatch_pool_scrape_duration_seconds{site=~"$site"})`, "{{pool}} on {{instance}}"}),
		}},
	}
}

// query is a Prometheus expression of a panel and the legend of its series.
type query struct{ expr, legend string }

func target(q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(q.expr).LegendFormat(q.legend)
}

// number returns a panel with a single number, which should be 0.
func number(title, meaning, expr string) cog.Builder[dashboard.Panel] {
	return stat.NewPanelBuilder().Title(title).Description(meaning).Datasource(source()).
		Span(4).Height(4).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "green"}, {Value: cog.ToPtr(1.0), Color: "red"},
		})).
		WithTarget(target(query{expr: expr}).Instant())
}

// list returns a panel with a table of the current values of an expression.
func list(title, meaning, expr string) cog.Builder[dashboard.Panel] {
	return table.NewPanelBuilder().Title(title).Description(meaning).Datasource(source()).
		Span(12).Height(9).Filterable(true).
		WithTarget(target(query{expr: expr}).Instant().Format(prometheus.PromQueryFormatTable)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"excludeByName": map[string]bool{"Time": true}}})
}

// lines returns a panel that draws series over time.
func lines(title, meaning, unit string, queries ...query) cog.Builder[dashboard.Panel] {
	panel := timeseries.NewPanelBuilder().Title(title).Description(meaning).Datasource(source()).
		Span(12).Height(9).Unit(unit).Min(0).FillOpacity(5).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).Calcs([]string{"lastNotNull"}))
	for i, q := range queries {
		panel = panel.WithTarget(target(q).RefId(string(rune('A' + i))))
	}
	return panel
}
