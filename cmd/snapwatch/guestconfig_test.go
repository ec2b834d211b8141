package main

import (
	"fmt"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// configDay returns snapshots of a disk, one an hour. kept has, for each snapshot, the name of the
// configuration that the snapshot stores, "" for none. If the name of the configuration begins with
// @, the snapshot stores only a reference to the configuration.
func configDay(t *testing.T, dataset string, guid uint64, vmid int, kept ...string) []zfs.KeptConfig {
	t.Helper()
	var list []zfs.KeptConfig
	for i, name := range kept {
		k := zfs.KeptConfig{Snapshot: zfs.Snapshot{
			Dataset: dataset, Name: fmt.Sprintf("s%d", i), GUID: guid + uint64(i), Creation: time.Date(2026, 7, 15, i, 0, 0, 0, time.Local),
		}}
		c := pve.Capture(pve.ID{VMID: vmid, Kind: pve.QEMU}, "pve1", "name: "+strings.TrimPrefix(name, "@")+"\n", nil)
		switch {
		case strings.HasPrefix(name, "@"):
			k.Value = c.Reference()
		case name != "":
			var err error
			k.Value, err = c.Value()
			require.NoError(t, err)
		}
		list = append(list, k)
	}
	return list
}

// A virtual machine and a container with the same VMID are two guests, even if the names of their
// clusters or disks are the same.
func TestGuestConfigOfTwoKinds(t *testing.T) {
	disk := func(dataset string, guid uint64, kind pve.Kind, hour int) diskConfigs {
		value, err := pve.Capture(pve.ID{VMID: 100, Kind: kind}, "pve1", "memory: 512\n", nil).Value()
		require.NoError(t, err)
		return diskConfigs{dataset, "", []zfs.KeptConfig{{Snapshot: zfs.Snapshot{Dataset: dataset, Name: "s", GUID: guid, Creation: time.Date(2026, 7, 15, hour, 0, 0, 0, time.Local)}, Value: value}}}
	}
	vm, ct := disk("tank/a/vm-100-disk-0", 1, pve.QEMU, 12), disk("tank/b/subvol-100-disk-0", 2, pve.LXC, 13)
	g := newGuestConfigs(100, []diskConfigs{vm, ct}, func(zfs.KeptConfig, error) {})
	now := time.Date(2026, 7, 16, 6, 0, 0, 0, time.Local)
	for _, at := range []string{"", "s"} {
		_, err := g.configAt(at, now)
		assert.ErrorContains(t, err, "the disks "+vm.name+" and "+ct.name+" with the number 100 may belong to two guests")
	}
	got, err := g.configAt(vm.name+"@s", now)
	require.NoError(t, err)
	assert.Contains(t, got.text, "qemu-server/100.conf")
}

// If the file system is full, guest-config --output leaves no file behind, and succeeds in a second
// call when there is space again.
func TestGuestConfigWithoutRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "100.conf")
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4, Max: before.Max}))
	err := writeNew(path, "name: shop\n")
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	require.ErrorIs(t, err, syscall.EFBIG)
	assert.NoFileExists(t, path)
	require.NoError(t, writeNew(path, "name: shop\n"))
}

// guest-config prints the configuration that was in force at the snapshot, or an error if that
// configuration is unknown.
func TestGuestConfigAt(t *testing.T) {
	const a, b, b1 = "tank/a/vm-100-disk-0", "tank/b/vm-100-disk-0", "tank/b/vm-100-disk-1"
	disk := func(name, cluster string, kept []zfs.KeptConfig) diskConfigs { return diskConfigs{name, cluster, kept} }
	aba := disk(a, "", configDay(t, a, 10, 100, "A", "@A", "B", "@B", "A", "@A"))
	rotated := disk(a, "", configDay(t, a, 10, 100, "A", "@A", "", "@B", "", "@A"))
	for name, test := range map[string]struct {
		disks []diskConfigs
		at    string
		want  string
		err   string
	}{
		"the newest":                    {disks: []diskConfigs{aba}, want: "A"},
		"its own":                       {disks: []diskConfigs{aba}, at: "s2", want: "B"},
		"another keeps it":              {disks: []diskConfigs{aba}, at: "s3", want: "B"},
		"kept before and again":         {disks: []diskConfigs{rotated}, at: "s5", want: "A"},
		"the one that had it is gone":   {disks: []diskConfigs{rotated}, at: "s3", err: "the configuration at " + a + "@s3 is not known: no snapshot here keeps it; the nearest one before it is at " + a + "@s1, 2026-07-15 01:00:00; the nearest one after it is at " + a + "@s5, 2026-07-15 05:00:00"},
		"nothing is said of it":         {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "", "A"))}, at: "s0", err: "no snapshot before it has a configuration; the nearest one after it is at " + a + "@s1"},
		"no such snapshot":              {disks: []diskConfigs{aba}, at: "s9", err: "no disk of guest 100 here has a snapshot s9"},
		"none":                          {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "", ""))}, err: "no snapshot here has the guest's configuration"},
		"another guest's":               {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 101, "A"))}, err: "no snapshot here has the guest's configuration"},
		"of the future":                 {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, append(slices.Repeat([]string{"@A"}, 30), "A", "B")...))}, want: "A"},
		"two clusters":                  {disks: []diskConfigs{disk(a, "x", configDay(t, a, 10, 100, "A")), disk(b, "y", configDay(t, b, 20, 100, "B"))}, err: "the disks " + a + " and " + b + " with the number 100 may belong to two guests"},
		"two clusters, not configured":  {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "A")), disk(b, "", configDay(t, b, 20, 100, "B"))}, at: "s0", err: "choose one with --at DATASET@SNAPSHOT"},
		"the one that is named":         {disks: []diskConfigs{disk(a, "x", configDay(t, a, 10, 100, "A")), disk(b, "y", configDay(t, b, 20, 100, "B", "A"))}, at: b + "@s0", want: "B"},
		"a copy that lags":              {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "A", "B")), disk(b, "", configDay(t, b, 10, 100, "A"))}, want: "B"},
		"two clusters, other numbers":   {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "A", "@A")), disk(b1, "", configDay(t, b1, 50, 100, "B", "@B", "@B"))}, err: "the disks " + a + " and " + b1 + " with the number 100 may belong to two guests"},
		"other numbers, at a snapshot":  {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "A", "@A")), disk(b1, "", configDay(t, b1, 50, 100, "B", "@B", "@B"))}, at: "s1", err: "may belong to two guests"},
		"another disk that lags":        {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "A", "B")), disk(b1, "", configDay(t, b1, 50, 100, "@A", "@A", "C"))}, want: "C"},
		"another disk of the guest has": {disks: []diskConfigs{disk(a, "", configDay(t, a, 10, 100, "@A")), disk("tank/a/vm-100-disk-1", "", configDay(t, a, 20, 100, "A"))}, at: a + "@s0", want: "A"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuestConfigs(100, test.disks, func(zfs.KeptConfig, error) {})
			got, err := g.configAt(test.at, time.Date(2026, 7, 16, 6, 0, 0, 0, time.Local))
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Contains(t, got.text, "name: "+test.want+"\n")
		})
	}
}
