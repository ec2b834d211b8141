package snapper

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// sight returns a [NodeView] with one guest. The argument e is the evidence about this guest.
func sight(e Evidence) NodeView {
	e.Config.ID = pve.ID{VMID: 100, Kind: pve.QEMU}
	return NodeView{
		Cluster:  pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: e.Config}, Elsewhere: map[int]string{200: "pve2"}},
		Evidence: map[int]Evidence{100: e},
		Gate:     Gate{Uptime: time.Hour, BootState: "active"},
	}
}

// If a guest's process and the label of its disk contradict each other, a run asks QEMU about the
// guest's state. If a backup may have started the guest's process, the run asks QEMU, too.
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

// A run looks a second time at a guest that seems stopped only if the guest's disks would then get
// a _stopped snapshot. If the disks would get no _stopped snapshot, a note has the reason.
func TestLooks(t *testing.T) {
	running, stopped, adopted := runningDisk(disk0, nil), runningDisk(disk0, nil), runningDisk(disk0, nil)
	stopped.Running.Value, adopted.Running = zfs.LabelStopped, zfs.Property{}
	w := &world{}
	w.managed(&stopped, zfs.Stopped, noon)
	w.managed(&adopted, zfs.Hourly, noon)
	plan := func(view NodeView, d Disk) Plan {
		disks := []Disk{d}
		view.Assign(disks, nil)
		return MakePlan(disks, testPolicy(), noon)
	}
	looks := func(e Evidence, d Disk) []int { return plan(sight(e), d).Ask.Looks }
	dead := Evidence{Listed: "stopped"}
	template := dead
	template.Config.Template = true
	assert.Equal(t, []int{100}, looks(dead, running))
	assert.Empty(t, looks(template, running), "it cannot run")
	assert.Len(t, plan(sight(template), running).Stops(), 1)
	assert.Empty(t, looks(dead, stopped), "its label says so already")
	assert.Equal(t, "stopped, and not written to since "+stopped.Snapshots[0].Name, plan(sight(dead), stopped).Notes[0].Reason)
	assert.Contains(t, plan(sight(dead), adopted).Notes[0].Reason, "--adopt")
	assert.Empty(t, looks(Evidence{Listed: "running", Process: true}, running))
	assert.Empty(t, looks(Evidence{ListErr: errTest}, running))

	recalled := running
	recalled.Recalled = true
	assert.Equal(t, []string{disk0}, plan(sight(dead), recalled).Ask.Bookmarks, "its last snapshot may make older bookmarks go")

	second := sight(dead)
	second.LooksDone = true
	got := plan(second, running)
	assert.True(t, got.Ask.None(), "there is no third look")
	assert.Empty(t, got.Guests)
	assert.Equal(t, "stopped at one look only", got.Notes[0].Reason)
}

// If the last look at a guest's state, under the guest's lock, shows any doubt, the guest gets no
// _stopped snapshot.
func TestStillStopped(t *testing.T) {
	dead := Evidence{Listed: "stopped", SeenStopped: true}
	view := sight(dead)
	config := view.Cluster.Guests[100]
	disks := []Disk{runningDisk(disk0, nil)}
	for name, c := range map[string]struct {
		change func(*LastLook)
		want   string
	}{
		"nothing changed": {func(*LastLook) {}, ""},
		"hibernated":      {func(l *LastLook) { l.Config.Lock = "suspended" }, ""},
		"started":         {func(l *LastLook) { l.Process = true }, "running"},
		"locked":          {func(l *LastLook) { l.Config.Lock = "rollback" }, "stopped, but locked: rollback"},
		"rebooting":       {func(l *LastLook) { l.Rebooting = true }, "stopped for a reboot"},
		"a template now":  {func(l *LastLook) { l.Config.Template = true }, ""},
		"gone":            {func(l *LastLook) { l.Err = errTest }, "its files could not be read: " + errTest.Error()},
	} {
		look := LastLook{Config: config}
		c.change(&look)
		assert.Equal(t, c.want, view.StillStopped(disks, nil, map[int]LastLook{100: look}), name)
		assert.Equal(t, dead.Process, view.Evidence[100].Process, "the view is not changed")
	}
	assert.NotEmpty(t, view.StillStopped(disks, []string{"tank/data"}, nil), "listed as a copy")
}

func TestAssign(t *testing.T) {
	disks := []Disk{runningDisk(disk0, nil), runningDisk("tank/data/vm-200-disk-0", nil), runningDisk("tank/data/vm-300-disk-0", nil), runningDisk("tank/copies/vm-100-disk-0", nil)}
	sight(Evidence{Listed: "running", Process: true}).Assign(disks, []string{"tank/copies"})
	var states []GuestState
	for _, d := range disks {
		assert.NotEmpty(t, d.Why)
		states = append(states, d.State)
	}
	assert.Equal(t, []GuestState{Running, Elsewhere, Orphan, Replica}, states)
}

// If the configuration lists a disk as a copy, but a running guest uses this disk, the disk gets no
// snapshot, and the run is not a success. If the running guest does not use the disk, and only its
// number is in the disk's name, the disk is treated as a copy of another cluster's guest.
func TestInUseThoughListedAsACopy(t *testing.T) {
	running := Evidence{Listed: "running", Process: true}
	running.Config.Volumes = []pve.Volume{{Key: "scsi0", Storage: "data", Name: "vm-100-disk-0"}}
	other := "tank/data/copies/vm-100-disk-0"
	results := func(e Evidence) map[string]Result {
		g := sight(e)
		g.Cluster.Storages = []pve.Storage{{Name: "data", Dataset: "tank/data"}}
		disks := []Disk{runningDisk(disk0, nil), runningDisk(other, nil)}
		g.Assign(disks, []string{"tank/data"})
		plan := MakePlan(disks, testPolicy(), noon)
		assert.Empty(t, plan.Guests)
		got := map[string]Result{}
		for _, n := range plan.Notes {
			got[n.Dataset] = n.Result
		}
		return got
	}
	assert.Equal(t, map[string]Result{disk0: Unprotected, other: Untouched}, results(running))
	running.Listed, running.Process = "stopped", false
	assert.Equal(t, map[string]Result{disk0: Untouched, other: Untouched}, results(running))
}

// A disk that the configuration lists as a copy belongs to the guest whose number is in its name
// only if the disk is in a storage of this node. If a copy outside of this node's storages belonged
// to the guest, prune would never rotate copies from other clusters, which use the same numbers.
func TestUsersOfACopy(t *testing.T) {
	g := sight(Evidence{})
	g.Cluster.Storages = []pve.Storage{{Name: "data", Dataset: "tank/data"}}
	g.Cluster.Guests[100] = pve.Config{Volumes: []pve.Volume{{Key: "scsi0", Name: "/dev/zvol/tank/backup/vm-7-disk-0"}}}
	for dataset, want := range map[string][]int{
		disk0: {100}, "tank/backup/vm-100-disk-0": nil, "tank/backup/vm-7-disk-0": {100},
	} {
		vmid, _, _ := zfs.ParseDiskName(zfs.Base(dataset))
		assert.Equal(t, want, g.Users(Disk{Dataset: zfs.Dataset{Name: dataset}, VMID: vmid}), dataset)
	}
}

// A run reads received labels before its second look at the guests' states. Received labels may add
// guests to the second look, and a run does not look a third time.
func TestReceivedLabelsComeBeforeTheLook(t *testing.T) {
	masked := runningDisk("tank/data/vm-100-disk-1", nil)
	masked.Running, masked.ReceivedUnread = zfs.Property{}, true
	disks := []Disk{runningDisk(disk0, nil), masked}
	view := sight(Evidence{Listed: "stopped"})
	view.Assign(disks, nil)
	ask := MakePlan(disks, testPolicy(), noon).Ask
	assert.Equal(t, []string{masked.Name}, ask.Received)
	assert.Empty(t, ask.Looks)
	disks[1].ReceivedUnread = false
	assert.Equal(t, []int{100}, MakePlan(disks, testPolicy(), noon).Ask.Looks)
}

// A disk belongs to the guest that uses it, whatever number is in the disk's name. A disk that no
// configuration names belongs to the guest whose number is in the disk's name. If a sign shows that
// the disk came from another host, it belongs to no guest, because other clusters use the same
// numbers.
func TestWhoseDiskItIs(t *testing.T) {
	config := Evidence{Listed: "running", Process: true}
	config.Config.Volumes = []pve.Volume{{Key: "scsi0", Storage: "data", Name: "vm-200-disk-0"}}
	view := sight(config)
	view.Cluster.Elsewhere = nil
	view.Cluster.Storages = []pve.Storage{{Name: "data", Dataset: "tank/data"}}
	copied := runningDisk("tank/data/vm-100-disk-1", nil)
	copied.Sign = "@a is older than the dataset"
	disks := []Disk{runningDisk("tank/data/vm-200-disk-0", nil), copied, runningDisk("tank/data/vm-100-disk-2", nil)}
	for range 2 { // the states of guests and disks are set again after each look
		view.Assign(disks, nil)
		assert.Equal(t, Running, disks[0].State)
		assert.Equal(t, 100, disks[0].VMID, "grouped, frozen and reported with it")
		assert.Equal(t, Replica, disks[1].State)
		assert.Contains(t, disks[1].Why, "does not name it in its configuration, and it may be a copy (@a is older")
		assert.Equal(t, Running, disks[2].State)
	}
	assert.Empty(t, view.UsersHere("tank/data/vm-300-disk-0"))
}

// A disk that a running guest keeps as unused does not belong to the running guest. An unused disk
// belongs to the guest whose number is in the disk's name. A disk that came from another host, as a
// sign shows, belongs to no guest.
func TestUnusedDisk(t *testing.T) {
	config := Evidence{Listed: "running", Process: true}
	for i, name := range []string{"vm-100-disk-1", "vm-100-disk-2", "vm-300-disk-0"} {
		config.Config.Volumes = append(config.Config.Volumes, pve.Volume{Key: fmt.Sprintf("unused%d", i), Storage: "data", Name: name})
	}
	view := sight(config)
	view.Cluster.Storages = []pve.Storage{{Name: "data", Dataset: "tank/data"}}
	disks := []Disk{runningDisk("tank/data/vm-100-disk-1", nil), runningDisk("tank/data/vm-100-disk-2", nil), runningDisk("tank/data/vm-300-disk-0", nil)}
	disks[1].Sign = "@a is older than the dataset"
	view.Assign(disks, nil)
	var states []GuestState
	for _, d := range disks {
		states = append(states, d.State)
		assert.Equal(t, 100, d.VMID)
	}
	assert.Equal(t, []GuestState{Running, Replica, Busy}, states)
	assert.Contains(t, disks[1].Why, "guest 100 only keeps it as unused, and it may be a copy (@a is older")
	assert.Contains(t, disks[2].Why, "kept as unused by the guests [100], and its name has another guest's number")
	view.Assign(disks, []string{"tank/data"})
	assert.False(t, disks[0].InUse)
}

// A guest's configuration that could not be read may name any disk. If a guest's configuration
// could not be read, snap leaves alone all disks with this guest's number in their names. snap also
// leaves alone the disks of a stopped guest that no readable configuration names.
func TestUnreadConfiguration(t *testing.T) {
	dead, alive := Evidence{Listed: "stopped", SeenStopped: true}, Evidence{Listed: "running", Process: true}
	view := sight(dead)
	view.Cluster.Storages = []pve.Storage{{Name: "data", Dataset: "tank/data"}}
	view.Evidence = map[int]Evidence{100: dead, 101: dead, 102: alive, 103: alive}
	view.Evidence[103] = Evidence{Config: pve.Config{ID: pve.ID{VMID: 103}, Problem: "input/output error"}, Process: true, Listed: "running"}
	view.Cluster.Guests = map[int]pve.Config{
		100: {}, 101: {Volumes: []pve.Volume{{Key: "scsi0", Storage: "data", Name: "vm-101-disk-0"}}},
		102: {}, 103: view.Evidence[103].Config,
	}
	var disks []Disk
	for _, vmid := range []string{"100", "101", "102", "103", "200"} {
		disks = append(disks, runningDisk("tank/data/vm-"+vmid+"-disk-0", nil))
	}
	view.Assign(disks, nil)
	var states []GuestState
	for _, d := range disks {
		states = append(states, d.State)
	}
	assert.Equal(t, []GuestState{Unknown, Stopped, Running, Unknown, Elsewhere}, states)
	assert.Equal(t, "no readable configuration uses it, and the configurations of the guests [103] could not be read", disks[0].Why)
	assert.Equal(t, "its configuration could not be read: input/output error", disks[3].Why)
	plan := MakePlan(disks, testPolicy(), noon)
	assert.Equal(t, []string{"tank/data/vm-101-disk-0 stopped label=stopped"}, stepsOf(plan))
}
