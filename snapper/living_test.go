package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/pve"
)

// A living guest gets no snapshot while a snapshot would make a rollback of the guest fail half
// way. If the guest's lock is held for an unknown reason, snap skips the guest in some runs and
// then takes the snapshot, because migrations and moves of disks hold the guest's lock for hours.
func TestWaits(t *testing.T) {
	word := func(lock string) pve.Config { return pve.Config{Lock: lock} }
	for name, c := range map[string]struct {
		look LastLook
		want string
	}{
		"nothing":                  {LastLook{Process: true}, ""},
		"ended":                    {LastLook{Ended: true}, "it has ended"},
		"its process was not seen": {LastLook{}, ""},
		"moved away":               {LastLook{Gone: true, Err: errTest}, "its configuration is gone from this node"},
		"rollback, by its word":    {LastLook{Process: true, Config: word("rollback")}, "locked: rollback"},
		"clone":                    {LastLook{Config: word("clone"), LockErr: errTest}, "locked: clone"},
		"a backup":                 {LastLook{Process: true, Config: word("backup")}, ""},
		"a migration holds it":     {LastLook{Process: true, Config: word("migrate"), LockErr: errTest, BusyRuns: 0}, ""},
		"a disk is moved":          {LastLook{Process: true, Config: word("disk"), LockErr: errTest}, ""},
		"no word, first":           {LastLook{Process: true, LockErr: errTest}, "Proxmox works on it: " + errTest.Error()},
		"no word, second":          {LastLook{Process: true, LockErr: errTest, BusyRuns: 1}, "Proxmox works on it: " + errTest.Error()},
		"no word, third":           {LastLook{Process: true, LockErr: errTest, BusyRuns: 2}, ""},
		"a rollback, by its task":  {LastLook{Process: true, LockErr: errTest, BusyRuns: 9, RollingBack: true}, "it is being rolled back"},
		"it rolls back, lock free": {LastLook{Process: true, RollingBack: true}, "it is being rolled back"},
		"its files hang":           {LastLook{Err: errTest}, "Proxmox works on it: " + errTest.Error()},
		"its files hang for long":  {LastLook{Err: errTest, BusyRuns: 2}, ""},
		"its files hang, and busy": {LastLook{Err: errTest, LockErr: errTest, Config: word("migrate")}, "Proxmox works on it: " + errTest.Error()},
	} {
		assert.Equal(t, c.want, c.look.Waits(), name)
	}
}
