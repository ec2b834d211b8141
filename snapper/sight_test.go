package snapper

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// sight is a node with one guest, which was seen as e.
func sight(e Evidence) Guests {
	e.Config.ID = pve.ID{VMID: 100, Kind: pve.QEMU}
	return Guests{
		Cluster:  pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: e.Config}, Elsewhere: map[int]string{200: "pve2"}},
		Evidence: map[int]Evidence{100: e},
		Gate:     Gate{Uptime: time.Hour, BootState: "active"},
	}
}

// Of whom QEMU is asked: a process and a label that agree need no question, unless a
// backup may have started the process.
func TestUnclear(t *testing.T) {
	mine, other := runningDisk(disk0, nil), runningDisk(disk0, nil)
	other.Running.Value = zfs.LabelStopped
	alive, dead := Evidence{Listed: "running", Process: true}, Evidence{Listed: "stopped"}
	backup := alive
	backup.Config.Lock = "backup"
	unlisted := Evidence{Process: true, ListErr: errTest}
	names := testPolicy().Names
	ask := []int{100}
	assert.Empty(t, sight(alive).Unclear([]Disk{mine}, names))
	assert.Equal(t, ask, sight(alive).Unclear([]Disk{other}, names))
	assert.Equal(t, ask, sight(backup).Unclear([]Disk{mine}, names))
	assert.Empty(t, sight(dead).Unclear([]Disk{other}, names))
	assert.Empty(t, sight(unlisted).Unclear([]Disk{other}, names), "pvesh would only hang again")
}

// Which guests are looked at twice: those whose disks would be taken for stopped.
func TestStopsToConfirm(t *testing.T) {
	running, stopped := runningDisk(disk0, nil), runningDisk(disk0, nil)
	stopped.Running.Value = zfs.LabelStopped
	w := &world{}
	w.managed(&stopped, zfs.Stopped, noon)
	stops := func(e Evidence, d Disk) []int { return sight(e).Stops([]Disk{d}, nil, testPolicy(), noon) }
	dead := Evidence{Listed: "stopped"}
	template := dead
	template.Config.Template = true
	assert.Equal(t, []int{100}, stops(dead, running))
	assert.Equal(t, []int{100}, stops(template, running))
	assert.Empty(t, stops(dead, stopped), "its label says so already")
	assert.Empty(t, stops(Evidence{Listed: "running", Process: true}, running))
	assert.Empty(t, stops(Evidence{ListErr: errTest}, running))
}

func TestAssign(t *testing.T) {
	disks := []Disk{runningDisk(disk0, nil), runningDisk("tank/data/vm-200-disk-0", nil), runningDisk("tank/data/vm-300-disk-0", nil), runningDisk("tank/copies/vm-100-disk-0", nil)}
	sight(Evidence{Listed: "running", Process: true}).Assign(disks, []string{"tank/copies"})
	var states []State
	for _, d := range disks {
		assert.NotEmpty(t, d.Why)
		states = append(states, d.State)
	}
	assert.Equal(t, []State{Running, Elsewhere, Orphan, Replica}, states)
}
