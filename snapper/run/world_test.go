package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

const (
	disk0 = "tank/data/vm-100-disk-0"
	disk1 = "tank/data/vm-100-disk-1"
)

var (
	noon    = time.Date(2026, time.July, 15, 12, 7, 0, 0, time.UTC)
	errTest = errors.New("exit status 255")
)

// testPolicy returns the default policy, of node pve1 in a cluster with pve2.
func testPolicy() snapper.Policy {
	return snapper.Policy{
		Names:     snapper.Names{Node: "pve1", Hostname: "pve1", Peers: []string{"pve2"}},
		Bookmarks: 30, StoppedGrace: 24 * time.Hour, MaxDestroys: 1000, MaxBookmarkDestroys: snapper.MaxBookmarkDestroys,
	}
}

// runningDisk returns a disk of a running guest, with this node's label.
func runningDisk(name string, keep snapper.Retention) snapper.Disk {
	d := snapper.Disk{State: snapper.Running, Why: "running", Retention: keep}
	d.Name = name
	d.VMID, _, _ = zfs.ParseDiskName(zfs.Base(name))
	d.Running = zfs.Property{Value: "pve1", Source: zfs.SourceLocal}
	return d
}

// words parses a retention in the form that a person types on the command line, for example "h24
// d7".
func words(text string) snapper.Retention {
	k, err := config.ParseKeep(strings.Fields(text))
	if text != "" && err != nil {
		panic(err)
	}
	return snapper.RetentionOf(k)
}

func has(d *snapper.Disk, name string) bool {
	return slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == name })
}

func hookPlan() snapper.Plan {
	live := func(vmid int, pool, dataset string) snapper.GuestPlan {
		return snapper.GuestPlan{Pool: pool, VMID: vmid, Snapshot: "autosnap_2026-07-15_12:07:00_hourly", Class: zfs.Hourly,
			Disks: []snapper.DiskPlan{{Dataset: dataset, VMID: vmid, Snapshot: true, Label: "pve1"}}}
	}
	stopped := live(102, "tank", "tank/vm-102-disk-0")
	stopped.Class, stopped.Snapshot = zfs.Stopped, "autosnap_2026-07-15_12:07:00_stopped"
	labelOnly := live(103, "tank", "tank/vm-103-disk-0")
	labelOnly.Disks[0].Snapshot = false
	return snapper.Plan{
		Guests:          []snapper.GuestPlan{live(100, "tank", "tank/vm-100-disk-0"), live(100, "ssd", "ssd/vm-100-disk-1"), live(101, "tank", "tank/vm-101-disk-0"), stopped, labelOnly},
		Destroys:        []snapper.Destroy{{Dataset: "tank/vm-100-disk-0", Name: "old", AfterNew: true}, {Dataset: "tank/vm-101-disk-0", Name: "old"}, {Dataset: "tank/vm-102-disk-0", Name: "old"}},
		CreateBookmarks: []zfs.Snapshot{{Dataset: "tank/vm-102-disk-0", Name: "a"}, {Dataset: "tank/vm-101-disk-0", Name: "a"}},
		InheritReceived: []string{"tank/vm-104-disk-0"},
	}
}

// If StateDir does not exist, creating the directory of hook notes also creates StateDir. The
// created StateDir must get a mode with which the exporter can read the files in StateDir.
func TestHookNotesDirectory(t *testing.T) {
	l := Local{StateDir: filepath.Join(t.TempDir(), "state")}
	n, err := l.HookNotes().Take("100")
	require.NoError(t, err)
	require.NoError(t, n.End())
	for path, mode := range map[string]fs.FileMode{l.StateDir: 0o755, filepath.Join(l.StateDir, "hooks"): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

// Only one process at a time has the lock of the records. A run that cannot take the lock in time
// gets an error.
func TestLockRecords(t *testing.T) {
	l := Local{LockDir: filepath.Join(t.TempDir(), "lock"), Clock: time.Now}
	release, err := l.LockRecords(t.Context())
	require.NoError(t, err)
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = l.LockRecords(soon)
	require.ErrorContains(t, err, "records.lock is locked by process")
	release()
	release, err = l.LockRecords(t.Context())
	require.NoError(t, err)
	release()
}
