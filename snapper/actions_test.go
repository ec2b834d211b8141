package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfs"
)

// TestDecide compares every cell of the table of actions, by guest state and label.
func TestDecide(t *testing.T) {
	for _, cell := range []struct {
		state GuestState
		label Label
		want  Action
	}{
		{Unknown, NoLabel, Warn},
		{Unknown, StoppedLabel, Warn},
		{Unknown, OwnLabel, Warn},
		{Unknown, PeerLabel, Warn},
		{Unknown, ForeignLabel, Warn},

		{UnknownAlive, NoLabel, Warn},
		{UnknownAlive, StoppedLabel, Warn},
		{UnknownAlive, OwnLabel, Periodic},
		{UnknownAlive, PeerLabel, Warn},
		{UnknownAlive, ForeignLabel, Warn},

		{Running, NoLabel, Start},
		{Running, StoppedLabel, Start},
		{Running, OwnLabel, Periodic},
		{Running, PeerLabel, Start},
		{Running, ForeignLabel, Start},

		{Backup, NoLabel, Leave},
		{Backup, StoppedLabel, Leave},
		{Backup, OwnLabel, Leave},
		{Backup, PeerLabel, Leave},
		{Backup, ForeignLabel, Leave},

		{LockedAlive, NoLabel, Leave},
		{LockedAlive, StoppedLabel, Leave},
		{LockedAlive, OwnLabel, Periodic},
		{LockedAlive, PeerLabel, Leave},
		{LockedAlive, ForeignLabel, Leave},

		{Busy, NoLabel, Leave},
		{Busy, StoppedLabel, Leave},
		{Busy, OwnLabel, Leave},
		{Busy, PeerLabel, Leave},
		{Busy, ForeignLabel, Leave},

		{Stopped, NoLabel, Adopt},
		{Stopped, StoppedLabel, Recheck},
		{Stopped, OwnLabel, Final},
		{Stopped, PeerLabel, AdoptPeer},
		{Stopped, ForeignLabel, Leave},

		{Template, NoLabel, Leave},
		{Template, StoppedLabel, Leave},
		{Template, OwnLabel, Final},
		{Template, PeerLabel, Leave},
		{Template, ForeignLabel, Leave},

		{Elsewhere, NoLabel, Leave},
		{Elsewhere, StoppedLabel, InheritReceived},
		{Elsewhere, OwnLabel, InheritReceived},
		{Elsewhere, PeerLabel, InheritReceived},
		{Elsewhere, ForeignLabel, Leave},

		{Orphan, NoLabel, Warn},
		{Orphan, StoppedLabel, Warn},
		{Orphan, OwnLabel, Warn},
		{Orphan, PeerLabel, Warn},
		{Orphan, ForeignLabel, Warn},

		{Disputed, NoLabel, Warn},
		{Disputed, StoppedLabel, Warn},
		{Disputed, OwnLabel, Warn},
		{Disputed, PeerLabel, Warn},
		{Disputed, ForeignLabel, Warn},

		{Replica, NoLabel, Leave},
		{Replica, StoppedLabel, Leave},
		{Replica, OwnLabel, Leave},
		{Replica, PeerLabel, Leave},
		{Replica, ForeignLabel, Leave},
	} {
		assert.Equal(t, cell.want.String(), Decide(cell.state, cell.label).String(), "%s x %s", cell.state, cell.label)
	}
	assert.Len(t, actions, len(stateNames), "a state is missing in the table or here")
}

func TestClassify(t *testing.T) {
	names := Names{Node: "pve1", Hostname: "pve1.example.org", Peers: []string{"pve2", "pve3"}}
	local := func(value string) zfs.Property { return zfs.Property{Value: value, Source: zfs.SourceLocal} }
	for _, test := range []struct {
		name  string
		label zfs.Property
		want  Label
	}{
		{"unset", zfs.Property{}, NoLabel},
		{"own", local("pve1"), OwnLabel},
		{"own, received", zfs.Property{Value: "pve1", Received: "pve1", Source: zfs.SourceReceived}, PeerLabel},
		{"own, as pve-zfs-snap wrote it", local("pve1.example.org"), OwnLabel},
		{"own name in another domain", local("pve1.example.net"), ForeignLabel},
		{"in other letters", local("PVE1"), ForeignLabel},
		{"stopped", local("stopped"), StoppedLabel},
		{"stopped, received", zfs.Property{Value: "stopped", Received: "stopped", Source: zfs.SourceReceived}, StoppedLabel},
		{"a peer's", local("pve2"), PeerLabel},
		{"another cluster's", local("node9"), ForeignLabel},
		{"inherited from the parent", zfs.Property{Value: "pve1", Source: zfs.SourceInherited}, NoLabel},
		{"inherited stopped", zfs.Property{Value: "stopped", Source: zfs.SourceInherited}, NoLabel},
		{"local over received", zfs.Property{Value: "pve2", Received: "pve1", Source: zfs.SourceLocal}, PeerLabel},
	} {
		assert.Equal(t, test.want.String(), names.Classify(test.label).String(), test.name)
	}
	alone := Names{Node: "pve1", Hostname: "pve1"}
	assert.Equal(t, ForeignLabel.String(), alone.Classify(zfs.Property{Value: "pve1", Source: zfs.SourceReceived}).String(), "of another pve1")
	renamed := Names{Node: "pve1", Hostname: "other.example.org"}
	assert.Equal(t, ForeignLabel.String(), renamed.Classify(local("other.example.org")).String(), "a hostname that is not the node's")
}

// TestExcluded tries every value of label:nosnap, both set on the disk and inherited from a parent
// dataset.
func TestExcluded(t *testing.T) {
	for value, want := range map[string]bool{
		"nosnap": true, "on": true, "true": true, "yes": true, "1": true,
		"": false, "off": false, "false": false, "no": false, "0": false, "snap": false, "TRUE": false,
	} {
		for _, source := range []zfs.Source{zfs.SourceLocal, zfs.SourceReceived, zfs.SourceInherited} {
			assert.Equal(t, want, zfs.Property{Value: value, Source: source}.Excludes(), "%q", value)
		}
	}
}
