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
		return ok(topic, "none arrives with the %d disks received here; the suffix of the newest snapshot decides alone (syncoid --sendoptions=p sends labels, too)", received)
	}
	return ok(topic, "label:running arrived with %d of %d disks received here", arrived, received)
}

// limits compares how often snapshots come with the age at which their lack alarms: a
// limit that is below the gaps seen alarms though all is well.
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
		return ok(topic, "too few snapshots to compare the limits with")
	case over > 0:
		return warn(topic, "snapshots or replication paused then; where that is usual, raise limits, for such disks under overrides: (snapwatch config show DISK)",
			"%d of %d disks had no new snapshot for longer than warning: %s of late, %s for %s", over, judged, short(f.Warning), short(worst.Gap), worst.Dataset)
	}
	return ok(topic, "warning is %s; the longest time without a new snapshot was %s", short(f.Warning), short(worst.Gap))
}

// GapsSeen is how many of the newest snapshots are looked at for [LongestGap].
const GapsSeen = 20

// Taken is a managed snapshot: its creation, and whether it says that the guest was off
// from then on.
type Taken struct {
	At      time.Time
	Stopped bool
}

// LongestGap is the longest time between two of the newest snapshots, the oldest first.
// A time when the guest was off does not count. It is 0 for fewer than three snapshots.
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
