package sim

import (
	"fmt"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// dayKinds has the kinds of steps that the day of [LabDay] has and that random weeks do not have.
var dayKinds = map[string]kind{
	"resize": {"a disk of guest GUEST grows", true, true, func(w *World, g *guest, _ *node, _ Step) {
		if d := w.source(g, g.disks[0]); d != nil && w.changeable(g) {
			d.size++
			w.write(d)
		}
	}},
	"undo": {"guest GUEST is rolled back to a snapshot that Proxmox took a moment ago, for N runs", true, true, func(w *World, g *guest, _ *node, s Step) {
		if !w.changeable(g) {
			return
		}
		n := w.nodes[g.home]
		for _, name := range g.disks {
			w.snapshot(n, n.sets[name], fmt.Sprintf("before%d", w.tick))
		}
		w.writeAll(g)
		w.stop(g)
		g.lock, g.lockEnd = "rollback", w.tick+s.N
		for _, name := range g.disks {
			d := n.sets[name]
			newest, _ := d.newest()
			w.serial++
			w.setBack(d, newest.CreateTXG, "")
			d.content, d.rolledBack = w.taken[newest.GUID].content, newest.GUID
		}
	}},
	"linked clone": {"a linked clone is made of template GUEST, and started", true, false, func(w *World, g *guest, _ *node, _ Step) {
		const vmid = 103
		if !g.template || w.guests[vmid] != nil {
			return
		}
		w.addGuest(vmid, g.kind)
		made := w.guests[vmid]
		made.home = g.home
		for i, base := range g.disks {
			d := w.create(w.nodes[g.home], fmt.Sprintf("%s/vm-%d-disk-%d", zfs.Parent(base), vmid, i))
			d.content, d.log, d.origin = w.source(g, base).content, false, base+"@__base__"
			made.disks = append(made.disks, d.name)
		}
		w.start(made)
	}},
}

// DayTicks is the length of the day of [LabDay], in ticks of a quarter of an hour.
const DayTicks = 29

// LabDay returns a node's day for [World.PlayIn]: the work of Proxmox from an evening to the next
// morning, with a replication every quarter of an hour. The work of the night is compressed into
// seven hours, because the lab takes long to play each quarter of an hour. Guest 102 is off at
// first and then becomes a template; guest 103 is a linked clone of that template.
func LabDay() (Setup, []Step) {
	s := Setup{
		// The day is in winter, so no clock changes to or from summer time. The time zone of the
		// nodes is an hour ahead of UTC.
		Start: time.Date(2035, time.February, 8, 20, 0, 0, 0, time.UTC), Keep: "f12 h4 d2", Bookmarks: 30, Grace: 24 * time.Hour,
		Every: 4, Pvesr: true, Properties: true, Off: []int{102},
		Guests: []Owner{
			{100, pve.QEMU, []string{"tank/data/vm-100-disk-0", "ssd/vm-100-disk-1"}},
			{101, pve.LXC, []string{"tank/data/subvol-101-disk-0"}},
			{102, pve.QEMU, []string{"tank/data/vm-102-disk-0"}},
		},
	}
	const vm, container, template, clone = 0, 1, 2, 3
	at := func(tick, phase int, kind string, guest, n int) Step {
		return Step{Tick: tick, Phase: phase, Kind: kind, Guest: guest, N: n}
	}
	return s, []Step{
		at(0, BeforeRun, "resize", vm, 0),
		at(1, AfterRun, "movedisk", vm, 0),
		at(2, BeforeRun, "template", template, 0),
		at(3, BeforeRun, "linked clone", template, 0),
		at(4, BeforeRun, "backup", vm, 2),
		at(4, AfterRun, "backup", container, 1),
		at(5, BeforeRun, "stop", clone, 0),
		at(6, BeforeRun, "backup", clone, 2),
		at(8, BeforeRun, "migrate", vm, 2),
		at(9, AfterRun, "migrate", container, 1),
		at(12, BeforeRun, "migrate", vm, 2),
		at(13, BeforeRun, "migrate", container, 1),
		at(15, AfterRun, "undo", container, 1),
		at(16, BeforeRun, "undo", vm, 1),
		at(17, BeforeRun, "start", container, 0),
		at(18, BeforeRun, "start", vm, 0),
		at(19, BeforeRun, "ha", container, 0),
		at(19, AfterRun, "crash", container, 0),
		at(23, BeforeRun, "hostreboot", vm, 0),
		at(25, BeforeRun, "start", clone, 0),
		at(26, AfterRun, "stop", clone, 0),
		at(27, AfterRun, "destroy", clone, 0),
	}
}
