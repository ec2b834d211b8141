package doctor

import "time"

func labels(f Facts) []Finding {
	const topic = "labels"
	received, arrived, own := 0, 0, 0
	example := ""
	for _, d := range f.Disks {
		switch {
		case d.Received && d.ReceivedLabel:
			received, arrived = received+1, arrived+1
		case d.Received:
			received++
		}
		if d.Labelled && !d.ReceivedLabel {
			own, example = own+1, d.Dataset
		}
	}
	switch {
	case len(f.Disks) == 0:
		return warn(topic, "datasets: in the configuration says where to look", "no guest's disk was found")
	case f.Role == "replica" && own > 0:
		return warn(topic, "zfs inherit -S label:running "+example, "%d of %d disks have a label that was set here, such as %s", own, len(f.Disks), example)
	case f.primary() && received == 0:
		return ok(topic, "%d of %d disks have label:running", own, len(f.Disks))
	case received > 0 && arrived == 0:
		return ok(topic, "no label arrived with the %d disks received here, so only the suffix of the newest snapshot decides (syncoid --sendoptions=p also sends labels)", received)
	}
	return ok(topic, "label:running arrived with %d of %d disks received here", arrived, received)
}

// limits compares limits.warning, the age of the newest snapshot at which check warns, with the
// longest recent time between two snapshots of each disk. If limits.warning is shorter than the
// longest time between two snapshots, check warns although snapshots are taken as usual.
func limits(f Facts) []Finding {
	const topic = "limits"
	var worst Disk
	over, judged := 0, 0
	for _, d := range f.Disks {
		if d.Gap == 0 {
			continue
		}
		judged++
		if d.Gap > f.Warning {
			over++
		}
		if d.Gap > worst.Gap {
			worst = d
		}
	}
	switch {
	case judged == 0:
		return ok(topic, "there are too few snapshots to compare the limits with")
	case over > 0:
		return warn(topic, "snapshots or replication paused; if such pauses are usual, raise limits, for these disks under overrides: (snapwatch config show DISK)",
			"%d of %d disks recently had no new snapshot for longer than limits.warning (%s): the longest time was %s, for %s", over, judged, short(f.Warning), short(worst.Gap), worst.Dataset)
	}
	return ok(topic, "warning is %s; the longest time without a new snapshot was %s", short(f.Warning), short(worst.Gap))
}

// GapsSeen is the number of a disk's newest snapshots that [LongestGap] compares.
const GapsSeen = 20

// Taken is a managed snapshot. At is the time of its creation. Stopped is true if the guest was off
// from this time until the next snapshot.
type Taken struct {
	At      time.Time
	Stopped bool
}

// LongestGap returns the longest time between two successive snapshots, among the newest GapsSeen
// snapshots. The argument snapshots has the oldest snapshot first. LongestGap leaves out the time
// between two snapshots if the guest was off at that time. If there are fewer than three snapshots,
// LongestGap returns 0.
func LongestGap(snapshots []Taken) time.Duration {
	if len(snapshots) < 3 {
		return 0
	}
	snapshots = snapshots[max(0, len(snapshots)-GapsSeen):]
	longest := time.Duration(0)
	for i := 1; i < len(snapshots); i++ {
		if !snapshots[i-1].Stopped {
			longest = max(longest, snapshots[i].At.Sub(snapshots[i-1].At))
		}
	}
	return longest
}
