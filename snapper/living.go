package snapper

import (
	"cmp"
	"fmt"
	"slices"
)

// waitsFor are the words in a living guest's configuration under which nothing is done to
// its disks. Under all others Proxmox bears a snapshot: migrations and moves of disks take
// hours, and a word that was left behind must not end the snapshots for ever.
var waitsFor = []string{"rollback", "create", "clone", "destroyed"}

// maxBusyRuns is how many runs wait for a living guest whose lock is taken while nothing
// says what for.
const maxBusyRuns = 2

// Waits returns why a living guest gets no snapshot in this run, "" if it does. qm rollback
// looks whether its snapshot is the newest, stops the guest, and only then writes what it
// does into the configuration. Its lock is taken meanwhile, and a snapshot that is made then,
// or while it rolls back, ends it half way (seen of PVE 7.4 to 9.2). A configuration that
// cannot be read says as little as a lock that is taken.
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
