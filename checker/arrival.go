package checker

import (
	"fmt"

	"snapwatch/internal/zfs"
)

// labelArrival says whether label:running arrives with the snapshots, and what is
// missing where it does not (docs/replication.md, what each way carries).
func labelArrival(d Disk) string {
	const missing = "it comes with syncoid --sendoptions=p, or zfs send -p"
	switch d.Running.Source {
	case zfs.SourceReceived:
		return fmt.Sprintf("%s, received: it arrives", d.Running.Value)
	case zfs.SourceLocal:
		return fmt.Sprintf("%s, set here: on a copy that hides what is received (zfs inherit -S %s %s); %s", d.Running.Value, zfs.LabelRunning, d.Dataset, missing)
	case zfs.SourceInherited:
		return fmt.Sprintf("none of its own, only %s from a dataset above: it does not arrive; %s", d.Running.Value, missing)
	}
	return "none: it does not arrive; " + missing
}
