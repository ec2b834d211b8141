package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Of several snapshots that have a configuration, the one counts that held at the time:
// a later one says since when it has been so.
func TestChooseConfig(t *testing.T) {
	noon := time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	hour := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	kept := func(made, since int, name string) zfs.KeptConfig {
		value, err := pve.Capture(pve.ID{VMID: 100, Kind: pve.QEMU}, "pve1", "name: "+name+"\n", hour(since))
		require.NoError(t, err)
		return zfs.KeptConfig{Snapshot: zfs.Snapshot{Dataset: "tank/vm-100-disk-0", Name: name, Creation: hour(made)}, Value: value}
	}
	none := zfs.KeptConfig{Snapshot: zfs.Snapshot{Creation: hour(20)}}
	bad := zfs.KeptConfig{Snapshot: zfs.Snapshot{Creation: hour(21)}, Value: "H4s="}
	a, b := kept(1, 0, "a"), kept(10, 4, "b")
	for _, test := range []struct {
		name    string
		kept    []zfs.KeptConfig
		at      time.Time
		want    string
		caution bool
		err     string
	}{
		{name: "the newest", kept: []zfs.KeptConfig{b, none, a}, want: "b"},
		{name: "one that cannot be read", kept: []zfs.KeptConfig{a, bad, b}, want: "b"},
		{name: "its own", kept: []zfs.KeptConfig{a, b}, at: hour(1), want: "a"},
		{name: "unchanged until later", kept: []zfs.KeptConfig{a, b}, at: hour(5), want: "b"},
		{name: "since just then", kept: []zfs.KeptConfig{a, b}, at: hour(4), want: "b"},
		{name: "changed later", kept: []zfs.KeptConfig{a, b}, at: hour(3), want: "a", caution: true},
		{name: "after all", kept: []zfs.KeptConfig{a, b}, at: hour(12), want: "b", caution: true},
		{name: "before all, and the same", kept: []zfs.KeptConfig{b}, at: hour(6), want: "b"},
		{name: "before all", kept: []zfs.KeptConfig{b}, at: hour(2), err: "no snapshot up to then has the guest's configuration; the oldest that has it is tank/vm-100-disk-0@b"},
		{name: "none", kept: []zfs.KeptConfig{none, bad}, err: "properties: they travel with zfs send -p or -R"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused := 0
			got, err := chooseConfig(test.kept, test.at, func(zfs.KeptConfig, error) { refused++ })
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, got.Name)
			assert.Contains(t, got.Text, "name: "+test.want+"\n")
			assert.Equal(t, test.caution, got.caution(test.at) != "")
		})
	}
}
