package snapper

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// openGate has the facts about a node on which snap may believe a guest's stop: the node has been
// up for long, and Proxmox has started all guests that start at boot.
var openGate = Gate{Uptime: 24 * time.Hour, BootGrace: 5 * time.Minute, BootState: "active"}

// dead returns evidence about a stopped guest: every sign says that the guest is stopped, at the
// first look and at the second look. Each test changes one sign in the evidence that dead returns.
func dead() Evidence {
	return Evidence{Config: pve.Config{ID: pve.ID{VMID: 100, Kind: pve.QEMU}}, Listed: "stopped", SeenStopped: true}
}

func live() Evidence {
	return Evidence{Config: pve.Config{ID: pve.ID{VMID: 100, Kind: pve.QEMU}}, Listed: "running", Process: true, RunState: "running"}
}

func with(e Evidence, change func(*Evidence)) Evidence {
	change(&e)
	return e
}

var errTest = errors.New("exit status 255")

func TestJudgeStopped(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Evidence)
		want   GuestState
		why    string
	}{
		{"proven", func(*Evidence) {}, Stopped, "stopped"},
		{"hibernated", func(e *Evidence) { e.Config.Lock = "suspended" }, Stopped, "hibernated"},
		{"container", func(e *Evidence) { e.Config.Kind = pve.LXC }, Stopped, "stopped"},
		{"wanted started, seen stopped by the last run", func(e *Evidence) { e.HAStarted, e.StoppedLastRun = true, true }, Stopped, "stopped"},
		{"template", func(e *Evidence) { e.Config.Template = true }, Template, "template"},

		{"just ended", func(e *Evidence) { e.JustEnded = true }, Busy, "ended while this run was looking"},
		{"a template that just ended", func(e *Evidence) { e.JustEnded, e.Config.Template = true, true }, Busy, "ended while this run was looking"},
		{"seen once", func(e *Evidence) { e.SeenStopped = false }, Busy, "one look only"},
		{"reboot", func(e *Evidence) { e.Rebooting = true }, Busy, "for a reboot"},
		{"wanted started by high availability", func(e *Evidence) { e.HAStarted = true }, Busy, "the next run looks again"},

		{"pvesh fails", func(e *Evidence) { e.Listed, e.ListErr = "", errTest }, Unknown, "could not be asked: exit status 255"},
		{"pvesh fails after listing it", func(e *Evidence) { e.ListErr = errTest }, Unknown, "could not be asked"},
		{"process unreadable", func(e *Evidence) { e.ProcessErr = errTest }, Unknown, "it is unknown whether its process runs"},
		{"not in the list", func(e *Evidence) { e.Listed = "" }, Unknown, "missing in Proxmox's list"},
		{"status unknown", func(e *Evidence) { e.Listed = "unknown" }, Unknown, `"unknown", which proves neither that it runs nor that it is stopped`},
		{"status of tomorrow", func(e *Evidence) { e.Listed = "mothballed" }, Unknown, "proves neither that it runs nor that it is stopped"},
		{"QEMU says shutdown in the list", func(e *Evidence) { e.Listed = "shutdown" }, Unknown, "proves neither that it runs nor that it is stopped"},
		{"listed as prelaunch", func(e *Evidence) { e.Listed = "prelaunch" }, Unknown, "proves neither that it runs nor that it is stopped"},

		{"paused", func(e *Evidence) { e.Listed = "paused" }, Running, "running"},
		{"io-error", func(e *Evidence) { e.Listed = "io-error" }, Running, "running"},
		{"process lives, listed as stopped", func(e *Evidence) { e.Process = true }, Running, "running"},
		{"process lives, not in the list", func(e *Evidence) { e.Process, e.Listed = true, "" }, UnknownAlive, `Proxmox says ""`},
		{"process lives, pvesh fails", func(e *Evidence) { e.Process, e.ListErr = true, errTest }, UnknownAlive, "its process lives"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, why := Judge(with(dead(), test.change), openGate)
			assert.Equal(t, test.want.String(), got.String())
			assert.Contains(t, why, test.why)
		})
	}
}

// TestJudgeLocks tries every lock of Proxmox, of virtual machines and containers, with the guest's
// state that follows from the lock.
func TestJudgeLocks(t *testing.T) {
	for _, test := range []struct {
		lock        string
		dead, alive GuestState
	}{
		{"", Stopped, Running},
		{"suspended", Stopped, LockedAlive},
		{"backup", Busy, Running},
		{"fstrim", Busy, Running},
		{"clone", Busy, Busy},
		{"create", Busy, Busy},
		{"rollback", Busy, Busy},
		{"destroyed", Busy, Busy},
		{"migrate", Busy, LockedAlive},
		{"snapshot", Busy, LockedAlive},
		{"snapshot-delete", Busy, LockedAlive},
		{"suspending", Busy, LockedAlive},
		{"disk", Busy, LockedAlive},
		{"mounted", Busy, LockedAlive},
		{"a lock of tomorrow", Busy, LockedAlive},
	} {
		lock := func(e *Evidence) { e.Config.Lock = test.lock }
		got, _ := Judge(with(dead(), lock), openGate)
		assert.Equal(t, test.dead.String(), got.String(), "stopped, lock %q", test.lock)
		got, _ = Judge(with(live(), lock), openGate)
		assert.Equal(t, test.alive.String(), got.String(), "alive, lock %q", test.lock)
	}
}

// TestJudgeRunState tries each run state that QEMU may report about a living process.
func TestJudgeRunState(t *testing.T) {
	for _, test := range []struct {
		runState, lock string
		want           GuestState
	}{
		{"prelaunch", "backup", Backup}, // a stopped guest that was started only for its backup
		{"shutdown", "backup", Backup},  // a guest that was powered off during its backup
		{"running", "backup", Running},
		{"paused", "backup", Running},
		{"", "backup", UnknownAlive},
		{"prelaunch", "", Busy},
		{"preconfig", "", Busy},
		{"inmigrate", "", Busy},
		{"shutdown", "", Running},
		{"paused", "", Running},
		{"io-error", "", Running},
		{"internal-error", "", Running},
		{"guest-panicked", "", Running},
		{"suspended", "", Running},
		{"watchdog", "", Running},
		{"save-vm", "", Running},
		{"postmigrate", "", Running},
		{"", "", Running},
	} {
		got, _ := Judge(with(live(), func(e *Evidence) { e.RunState, e.Config.Lock = test.runState, test.lock }), openGate)
		assert.Equal(t, test.want.String(), got.String(), "QEMU %q, lock %q", test.runState, test.lock)
	}
}

func TestJudgeAlive(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Evidence)
		want   GuestState
	}{
		{"plain", func(*Evidence) {}, Running},
		{"listed as running, no process seen", func(e *Evidence) { e.Process = false }, Running},
		{"listed as running, process unreadable", func(e *Evidence) { e.Process, e.ProcessErr = false, errTest }, Running},
		{"listed as unknown", func(e *Evidence) { e.Listed = "unknown" }, UnknownAlive},
		{"pvesh fails", func(e *Evidence) { e.Listed, e.ListErr = "", errTest }, UnknownAlive},
		{"pvesh fails, locked for rollback", func(e *Evidence) { e.ListErr, e.Config.Lock = errTest, "rollback" }, Busy},
		{"container under backup", func(e *Evidence) { e.Config.Kind, e.Config.Lock, e.RunState = pve.LXC, "backup", "" }, Running},
		{"template under backup", func(e *Evidence) { e.Config.Template, e.Config.Lock, e.RunState = true, "backup", "prelaunch" }, Backup},
		{"template with a process", func(e *Evidence) { e.Config.Template = true }, Backup},
		{"reboot file left behind", func(e *Evidence) { e.Rebooting = true }, Running},
	} {
		got, why := Judge(with(live(), test.change), openGate)
		assert.Equal(t, test.want.String(), got.String(), test.name)
		assert.NotEmpty(t, why, test.name)
	}
}

func TestBootGate(t *testing.T) {
	for _, test := range []struct {
		name   string
		gate   Gate
		closed string
	}{
		{"active", openGate, ""},
		{"no such unit", Gate{Uptime: 6 * time.Minute, BootGrace: 5 * time.Minute, BootState: "absent"}, ""},
		{"just booted", Gate{Uptime: 4 * time.Minute, BootGrace: 5 * time.Minute, BootState: "active"}, "up for 4m0s only (boot_grace 5m0s)"},
		{"just booted, no such unit", Gate{Uptime: time.Minute, BootGrace: 5 * time.Minute, BootState: "absent"}, "up for 1m0s only"},
		{"starting the guests", Gate{Uptime: 24 * time.Hour, BootState: "activating"}, "is activating"},
		{"stopping the guests", Gate{Uptime: 24 * time.Hour, BootState: "deactivating"}, "is deactivating"},
		{"reloading", Gate{Uptime: 24 * time.Hour, BootState: "reloading"}, "is reloading"},
		{"state not known", Gate{Uptime: 24 * time.Hour}, "is :"},
		{"failed early", Gate{Uptime: 30 * time.Minute, BootState: "failed"}, "is failed"},
		{"failed long ago", Gate{Uptime: 31 * time.Minute, BootState: "failed"}, ""},
		{"never started, early", Gate{Uptime: 30 * time.Minute, BootState: "inactive"}, "is inactive"},
		{"never started, long ago", Gate{Uptime: 31 * time.Minute, BootState: "inactive"}, ""},
		{"unreadable", Gate{Uptime: 24 * time.Hour, BootState: "active", Err: errTest}, "not known whether the host is starting"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, why := Judge(dead(), test.gate)
			if test.closed == "" {
				assert.Equal(t, Stopped.String(), state.String())
				return
			}
			assert.Equal(t, Busy.String(), state.String())
			assert.Contains(t, why, test.closed)
			state, _ = Judge(live(), test.gate)
			assert.Equal(t, Running.String(), state.String(), "the gate is about stops only")
		})
	}
}

// If any fact contradicts a guest's stop, the guest does not count as stopped. Of all combinations
// of evidence, only the complete proof makes a guest count as stopped.
func TestStopNeedsTheWholeProof(t *testing.T) {
	doubts := []func(*Evidence, *Gate){
		func(e *Evidence, _ *Gate) { e.Listed = "unknown" },
		func(e *Evidence, _ *Gate) { e.Listed = "" },
		func(e *Evidence, _ *Gate) { e.Listed = "paused" },
		func(e *Evidence, _ *Gate) { e.ListErr = errTest },
		func(e *Evidence, _ *Gate) { e.Process = true },
		func(e *Evidence, _ *Gate) { e.ProcessErr = errTest },
		func(e *Evidence, _ *Gate) { e.Rebooting = true },
		func(e *Evidence, _ *Gate) { e.SeenStopped = false },
		func(e *Evidence, _ *Gate) { e.HAStarted = true },
		func(e *Evidence, _ *Gate) { e.Config.Lock = "rollback" },
		func(e *Evidence, _ *Gate) { e.Config.Lock = "backup"; e.RunState = "prelaunch" },
		func(e *Evidence, _ *Gate) { e.Config.Template = true },
		func(_ *Evidence, g *Gate) { g.Uptime = time.Minute },
		func(_ *Evidence, g *Gate) { g.BootState = "activating" },
		func(_ *Evidence, g *Gate) { g.Err = errTest },
	}
	for set := 1; set < 1<<len(doubts); set++ {
		e, gate := dead(), openGate
		for i, doubt := range doubts {
			if set>>i&1 == 1 {
				doubt(&e, &gate)
			}
		}
		if state, _ := Judge(e, gate); state == Stopped {
			t.Fatalf("doubts %b make a guest stopped: %+v %+v", set, e, gate)
		}
	}
}

func TestCombine(t *testing.T) {
	for _, test := range []struct {
		states []GuestState
		want   GuestState
	}{
		{[]GuestState{Stopped}, Stopped},
		{[]GuestState{Unknown}, Unknown},
		{[]GuestState{Running, Stopped}, Running},
		{[]GuestState{Stopped, Running}, Running},
		{[]GuestState{Elsewhere, Running}, Running},
		{[]GuestState{Unknown, LockedAlive}, LockedAlive},
		{[]GuestState{UnknownAlive, Busy}, UnknownAlive},
		{[]GuestState{UnknownAlive, LockedAlive, Running}, Running},
		{[]GuestState{Stopped, Stopped}, Disputed},
		{[]GuestState{Stopped, Unknown}, Disputed},
		{[]GuestState{Elsewhere, Stopped}, Disputed},
		{[]GuestState{Template, Stopped}, Disputed},
		{[]GuestState{Busy, Backup}, Disputed},
		{nil, Disputed},
	} {
		assert.Equal(t, test.want.String(), Combine(test.states).String(), "%v", test.states)
	}
}

func TestAlive(t *testing.T) {
	alive := map[GuestState]bool{Running: true, LockedAlive: true, UnknownAlive: true}
	for s := range GuestState(len(stateNames)) {
		assert.Equal(t, alive[s], s.Alive(), s.String())
		assert.NotEmpty(t, s.String())
	}
}

// A disk belongs to the guest that uses it. A disk that no guest uses belongs to the guest whose
// configuration keeps it as unused. A disk that no configuration names belongs to the guest whose
// number is in the disk's name. A disk that came from another host belongs to a guest of this node
// only if the guest uses the disk.
func TestGuestsOf(t *testing.T) {
	view := NodeView{Cluster: pve.Cluster{
		Storages: []pve.Storage{{Name: "data", Dataset: "tank/data"}},
		Guests: map[int]pve.Config{
			100: {Volumes: []pve.Volume{{Key: "scsi0", Storage: "data", Name: "vm-100-disk-0"}, {Key: "unused0", Storage: "data", Name: "vm-100-disk-6"}}},
			101: {Volumes: []pve.Volume{{Key: "scsi1", Storage: "data", Name: "vm-100-disk-1"}, {Key: "scsi2", Storage: "other", Name: "vm-100-disk-2"}, {Key: "scsi3", Storage: "data", Name: "vm-105-disk-0"}}},
			102: {Volumes: []pve.Volume{{Key: "virtio0", Name: "/dev/zvol/tank/data/vm-100-disk-3"}, {Key: "mp0", Name: "/tank/data/subvol-100-disk-4"}}},
			103: {Volumes: []pve.Volume{{Key: "unused0", Storage: "data", Name: "vm-200-disk-0"}, {Key: "unused1", Storage: "data", Name: "vm-100-disk-1"}}},
			104: {Volumes: []pve.Volume{{Key: "scsi0", Name: "/dev/zvol/tank/data/vm-100-disk-5-part1"}}},
			105: {Problem: "input/output error"},
			106: {Volumes: []pve.Volume{{Key: "args", Name: "/dev/zvol/tank/data/vm-100-disk-7"}, {Key: "args", Name: "/dev/zvol/tank/in/vm-300-disk-1"}}},
		},
		Elsewhere: map[int]string{200: "pve2"},
	}}
	for _, test := range []struct {
		dataset        string
		want, withSign []int
	}{
		{"tank/data/vm-100-disk-0", []int{100}, []int{100}},
		{"tank/data/vm-100-disk-1", []int{101}, []int{101}},
		// Guest 101's configuration names vm-100-disk-2 on another storage.
		{"tank/data/vm-100-disk-2", []int{100}, nil},
		{"tank/data/vm-100-disk-3", []int{102}, []int{102}},
		{"tank/data/subvol-100-disk-4", []int{102}, []int{102}},
		{"tank/data/vm-100-disk-5", []int{104}, []int{104}},
		{"tank/data/vm-100-disk-6", []int{100}, nil},
		{"tank/data/vm-100-disk-7", []int{106}, []int{106}},
		{"tank/in/vm-300-disk-1", []int{106}, []int{106}},
		{"tank/data/vm-100-disk-30", []int{100}, nil},
		// The configuration of guest 105 could not be read, and may name the disk vm-105-disk-0.
		{"tank/data/vm-105-disk-0", []int{101, 105}, []int{101, 105}},
		{"tank/data/vm-200-disk-0", []int{103}, nil},
		{"tank/data/vm-200-disk-1", []int{200}, []int{200}},
		{"tank/data/vm-300-disk-0", nil, nil},
	} {
		d := Disk{Dataset: zfs.Dataset{Name: test.dataset}}
		assert.Equal(t, test.want, view.GuestsOf(d), test.dataset)
		d.Sign = "it has received properties"
		assert.Equal(t, test.withSign, view.GuestsOf(d), test.dataset)
	}
}

// If a lock word remains in a guest's configuration after Proxmox's work has ended, snap does not
// accept the guest's stop, and reports the lock word.
func TestStuckLock(t *testing.T) {
	locked := func(e *Evidence) { e.Config.Lock, e.Config.Changed = "backup", noon.Add(-61*time.Minute) }
	for _, test := range []struct {
		name   string
		change func(*Evidence)
		stuck  bool
	}{
		{"for more than an hour", func(*Evidence) {}, true},
		{"Proxmox can't be asked", func(e *Evidence) { e.Listed, e.ListErr = "", errTest }, true},
		{"for less", func(e *Evidence) { e.Config.Changed = noon.Add(-time.Hour) }, false},
		{"since a time to come", func(e *Evidence) { e.Config.Changed = noon.AddDate(1, 0, 0) }, true},
		{"since just now, by another clock", func(e *Evidence) { e.Config.Changed = noon.Add(futureSlack) }, false},
		{"not known since when", func(e *Evidence) { e.Config.Changed = time.Time{} }, false},
		{"not locked", func(e *Evidence) { e.Config.Lock = "" }, false},
		{"hibernated", func(e *Evidence) { e.Config.Lock = "suspended" }, false},
		{"its process lives, and a backup rotates", func(e *Evidence) { e.Process = true }, false},
		{"paused", func(e *Evidence) { e.Listed = "paused" }, false},
	} {
		_, got := StuckLock(with(with(dead(), locked), test.change), nil, noon)
		assert.Equal(t, test.stuck, got != "", "%s: %s", test.name, got)
	}
	vm, ct := with(dead(), locked), with(dead(), locked)
	vm.Config.ID, ct.Config.ID = pve.ID{VMID: 100, Kind: pve.QEMU}, pve.ID{VMID: 200, Kind: pve.LXC}
	text := func(e Evidence) string { _, text := StuckLock(e, nil, noon); return text }
	assert.Contains(t, text(vm), "guest 100 does not run and is locked (backup) since 2026-07-15 11:06: its stop is not recorded")
	assert.Contains(t, text(vm), "qm unlock 100")
	assert.Contains(t, text(ct), "pct unlock 200")
	for _, test := range []struct {
		word   string
		atWork bool
		age    time.Duration
		want   report.Severity
	}{
		{"rollback", true, time.Hour, report.Warning},
		{"snapshot-delete", true, time.Hour, report.Warning},
		{"suspending", true, time.Hour, report.Warning},
		{"migrate", false, time.Hour, report.Warning},
		{"disk", false, time.Hour, report.Warning},
		{"migrate", true, time.Hour, report.Notice},
		{"disk", true, 24*time.Hour - time.Minute, report.Notice},
		{"migrate", true, 24 * time.Hour, report.Warning},
	} {
		vm.Process, vm.Config.Lock, vm.Config.Changed = true, test.word, noon.Add(-test.age-time.Second)
		severity, said := StuckLock(vm, func(id pve.ID) bool { return test.atWork && id.VMID == 100 }, noon)
		assert.Equal(t, test.want, severity, "%+v", test)
		assert.Contains(t, said, "guest 100 runs and is locked ("+test.word+")")
		assert.Contains(t, said, "nothing works on it: qm unlock 100")
	}
}
