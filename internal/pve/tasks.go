package pve

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MigrationLock is the path of the lock that Proxmox holds while it replicates or migrates
// the guest (guest_migration_lock in PVE::GuestHelpers).
func (h Host) MigrationLock(id ID) string {
	return filepath.Join(h.Lock, "pve-manager", fmt.Sprintf("pve-migrate-%d", id.VMID))
}

// RollingBack reports whether Proxmox's list of active tasks contains a rollback of the guest. A
// line has a task's UPID (node, process, start, time, type, guest, user) and a number. The line of
// an ended task also has the end time and the result.
func (h Host) RollingBack(id ID) bool {
	text, err := os.ReadFile(h.Tasks)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || len(fields) > 2 {
			continue
		}
		upid := strings.Split(fields[0], ":")
		const kind, guest = 5, 6
		if len(upid) > guest && upid[guest] == strconv.Itoa(id.VMID) && (upid[kind] == "qmrollback" || upid[kind] == "vzrollback") {
			return true
		}
	}
	return false
}
