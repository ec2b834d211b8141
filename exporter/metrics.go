package exporter

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"snapwatch/checker"
)

// metric describes one metric in the catalogue of metrics.
type metric struct {
	Name   string
	Help   string
	Labels []string
	desc   *prometheus.Desc
}

// namespace begins the name of every metric.
const namespace = "snapwatch_"

func newMetric(name, help string, labels ...string) metric {
	return metric{namespace + name, help, labels, prometheus.NewDesc(namespace+name, help, labels, nil)}
}

// byDisk returns the names of the labels that every series about a disk has. While a disk's dataset
// exists, the values of the labels in byDisk never change, because a changed value would create a
// second series.
func byDisk(more ...string) []string {
	return append([]string{"pool", "dataset", "disk", "vmid"}, more...)
}

var (
	diskTimestamp = newMetric("disk_newest_snapshot_timestamp_seconds",
		"Creation time of the disk's newest managed snapshot, by the clock of the host that took it. While the disk cannot be read, the newest known one counts. Absent if there is none.", byDisk()...)
	diskAge = newMetric("disk_newest_snapshot_age_seconds",
		"Age of the disk's newest managed snapshot at the time of this scrape. Absent if there is none.", byDisk()...)
	diskSuffix = newMetric("disk_newest_snapshot_suffix",
		"1 for the suffix of the disk's newest managed snapshot, else 0; other if it has only snapshots that are not managed, none if it has none.", byDisk("suffix")...)
	diskState = newMetric("disk_state",
		"1 for the verdict on the disk, else 0: the same verdict that snapwatch check gives.", byDisk("state")...)
	diskLimit = newMetric("disk_limit_seconds",
		"Age of the newest snapshot beyond which the disk alarms, by the configuration.", byDisk("severity")...)
	diskMaxStoppedAge = newMetric("disk_max_stopped_age_seconds",
		"Age of a _stopped snapshot beyond which the disk alarms, by the configuration.", byDisk()...)
	diskMaxInitialReceive = newMetric("disk_max_initial_receive_seconds",
		"Age of the dataset beyond which a first receive that is not finished alarms, by the configuration.", byDisk()...)
	diskCreated = newMetric("disk_created_timestamp_seconds",
		"When the disk's dataset was made on this host. Absent if it is gone.", byDisk()...)
	diskInfo = newMetric("disk_info",
		"Always 1. Its labels are the guest's id, the node on which the guest runs according to the disk's label, and the origin of a copy.",
		byDisk("id", "node", "origin_cluster", "origin_dataset")...)
	diskOwned = newMetric("disk_owned",
		"1 if the disk's guest is configured on this host and the configuration does not call the disk a copy, else 0. Absent where it is not known which guests are configured here.", byDisk()...)
	poolState = newMetric("pool_state",
		"1 for each verdict that applies to the pool as a whole, else 0: the verdicts whose reasons snapwatch check gives. ok is 1 if no other is. A scan that only takes longer than a scrape is ok while the previous reading still counts.", "pool", "state")
	poolScrapeSuccess = newMetric("pool_scrape_success",
		"1 if the pool was read for this scrape, 0 if reading failed or is still under way. Then the last reading is served.", "pool")
	poolScrapeDuration = newMetric("pool_scrape_duration_seconds",
		"How long the last scan of the pool took.", "pool")
	poolLastSuccess = newMetric("pool_last_success_timestamp_seconds",
		"When the pool was last read successfully. Absent before the first time.", "pool")
	poolDisks = newMetric("pool_disks",
		"How many guests' disks the pool holds.", "pool")
	expectUnmet = newMetric("expect_unmet",
		"How many entries under expect: in the configuration match no disk here. An entry with the full name of a dataset on the owner does not count, because the owner's answer decides about it.")
	timeSeconds = newMetric("time_seconds",
		"The time of this host's clock at the scrape.")
)

// catalogue lists all metrics about disks, guests, owners and pools.
var catalogue = slices.Concat([]metric{
	diskTimestamp, diskAge, diskSuffix, diskState, diskLimit, diskMaxStoppedAge, diskMaxInitialReceive, diskCreated, diskOwned, diskInfo, diskComparison, diskLag,
}, guestCatalogue, ownerCatalogue, poolCatalogue, healthCatalogue)

// poolCatalogue lists the metrics that are not about disks.
var poolCatalogue = []metric{poolState, poolScrapeSuccess, poolScrapeDuration, poolLastSuccess, poolDisks, expectUnmet, timeSeconds}

func diskLabels(d checker.Disk) []string {
	pool, _, _ := strings.Cut(d.Dataset, "/")
	return []string{pool, d.Dataset, d.Name(), strconv.Itoa(d.VMID)}
}

// limitSeconds returns the upper end of an age limit in seconds. In the configuration, an age limit
// is a range without a lower end.
func limitSeconds(l checker.Limit) float64 { return l.Range.End }

var nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62})$`)

// node returns the value of label:running if it can be a node's name, else "invalid". The argument
// `label` may have been received with a stream and contain any text.
func node(label string) string {
	switch {
	case label == "":
		return ""
	case nodeName.MatchString(label):
		return label
	}
	return "invalid"
}
