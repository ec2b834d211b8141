package snapper

import (
	"cmp"
	"fmt"
	"slices"
)

// waitsFor lists lock words, the values of lock: in a guest's configuration. While a living guest
// has a lock word from waitsFor, its disks get no snapshot. While a guest has any other lock word,
// a snapshot does not disturb Proxmox's work. Migrations and moves of disks hold a lock for hours,
// and a lock that Proxmox left behind must not stop the snapshots for ever.
var waitsFor = []string{"rollback", "create", "clone", "destroyed"}

// At most maxBusyRuns runs in succession skip a living guest because its lock file is taken for an
// unknown reason.
const maxBusyRuns = 2

// Waits returns the reason why a living guest gets no snapshot in this run, "" if the guest gets
// one. qm rollback checks that its snapshot is the newest, stops the guest, and only then writes
// the lock "rollback" into the configuration. During the check and the stop, qm rollback holds the
// guest's lock file, and a snapshot that is taken during the check or the stop makes the rollback
// fail half way (seen on PVE 7.4 to 9.2). A configuration that cannot be read is treated like a
// lock file that is taken.
func (l LastLook) Waits() string {
	unsure := cmp.Or(l.LockErr, l.Err)
	switch word := l.Config.Lock; {
	case l.Gone:
		return "its configuration is gone from this node"
	case slices.Contains(waitsFor, word):
		return "locked: " + word
	case l.RollingBack:
		return "it is being rolled back"
	case l.LockErr == nil && l.Ended:
		return "it has ended"
	case unsure == nil, l.Err == nil && word != "":
		return ""
	case l.BusyRuns < maxBusyRuns:
		return fmt.Sprintf("Proxmox works on it: %v", unsure)
	}
	return ""
}
