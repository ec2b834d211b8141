package sim

import (
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// The three sites by number: the nodes A and B, and C.
const (
	SiteA = iota
	SiteB
	SiteC
)

// siteNames are the sites' names.
var siteNames = [...]string{nodeNames[SiteA], nodeNames[SiteB], "c"}

// Lab does in a real place what happens in the model. Each call comes before the model
// itself does it, when all that happened to guests and disks until then is to be seen
// in [World.Guests] and [World.Disks].
type Lab interface {
	// Run is a run of cron on a node; Killed is one that is killed before it writes
	// anything.
	Run(node int)
	Killed(node int)
	// TimePasses comes before the clock moves on by minutes, when all that happened so far is
	// to have happened.
	TimePasses()
	// Send is one run of syncoid. Sent comes when the model has done it, too.
	Send(Sending)
	Sent(Sending)
	// Rotated are snapshots that somebody else's rotation has just destroyed on a site
	// that receives.
	Rotated(site int, name string, snapshots []string)
	// Prune is a run of snapwatch prune on C, with the words of [Setup.VaultKeeps].
	Prune()
	// Looked comes at the end of a tick, when a check on C looks.
	Looked()
}

// Sending is one disk on its way from a node to another site. As is the name it gets
// there. Anew: what is there has no common base with it, and a person removed it. Proxmox: it is
// Proxmox that sends.
type Sending struct {
	From, To      int
	Name, As      string
	Anew, Proxmox bool
}

type nowhere struct{}

func (nowhere) Run(int)                       {}
func (nowhere) Killed(int)                    {}
func (nowhere) TimePasses()                   {}
func (nowhere) Send(Sending)                  {}
func (nowhere) Sent(Sending)                  {}
func (nowhere) Rotated(int, string, []string) {}
func (nowhere) Prune()                        {}
func (nowhere) Looked()                       {}

// PlayIn plays the steps as [World.Play] does, in a lab, too.
func (w *World) PlayIn(lab Lab, ticks int, plan []Step) {
	w.lab = lab
	w.Play(ticks, plan)
}

// Guest is a guest, as it truly is.
type Guest struct {
	VMID int
	Kind pve.Kind
	// Node has its configuration, and it runs there if Alive, since Since.
	Node  int
	Alive bool
	Since time.Time
	// Prelaunch: its process is there, but only for a backup.
	Prelaunch, Paused, HA, Gone, Template bool
	Lock                                  string
	Disks                                 []string
}

// Guests are all guests there ever were, in order.
func (w *World) Guests() []Guest {
	var all []Guest
	for _, vmid := range w.order {
		g := w.guests[vmid]
		all = append(all, Guest{
			VMID: vmid, Kind: g.kind, Node: g.home, Alive: g.alive, Since: g.since,
			Prelaunch: g.prelaunch, Paused: g.paused, HA: g.ha, Gone: g.gone, Template: g.template, Lock: g.lock, Disks: slices.Clone(g.disks),
		})
	}
	return all
}

// Disk is a dataset of a site. Content numbers the state of its data, Size how often it grew.
// Origin is the snapshot that it is a clone of, RolledBack the one to which it was rolled back
// last, by guid.
type Disk struct {
	Name                 string
	GUID, RolledBack     uint64
	Content, Size        int
	Origin               string
	Snapshots, Bookmarks []zfs.Snapshot
	Running              zfs.Property
}

// Disks are the datasets of a site, by name.
func (w *World) Disks(site int) map[string]Disk {
	sets := w.c.sets
	if site != SiteC {
		sets = w.nodes[site].sets
	}
	all := map[string]Disk{}
	for name, d := range sets {
		all[name] = Disk{
			Name: name, GUID: d.guid, Content: d.content, Running: d.running, Size: d.size, Origin: d.origin, RolledBack: d.rolledBack,
			Snapshots: slices.Clone(d.snaps), Bookmarks: slices.Clone(d.marks),
		}
	}
	return all
}

// Content is the state of the data that a snapshot holds, by its guid.
func (w *World) Content(guid uint64) int { return w.taken[guid].content }

// Now is the true time.
func (w *World) Now() time.Time { return w.now }

// Pvesh is what is wrong with pvesh on a node, "" if nothing is.
func (w *World) Pvesh(node int) string {
	if n := w.nodes[node]; w.tick < n.pveshBad {
		return n.pvesh
	}
	return ""
}

// Booting reports whether a node starts its guests just now.
func (w *World) Booting(node int) bool { return w.tick < w.nodes[node].booting }

// Verdicts are what a check on C says of each disk there, without asking their owners.
func (w *World) Verdicts() map[string]checker.Verdict {
	all := map[string]checker.Verdict{}
	for _, r := range w.assemble().Disks {
		if w.c.sets[r.Dataset] != nil {
			all[r.Dataset] = r.Verdict
		}
	}
	return all
}

// siteOf is the number of a node, and C's for none.
func (w *World) siteOf(n *node) int {
	switch n {
	case w.nodes[SiteA]:
		return SiteA
	case w.nodes[SiteB]:
		return SiteB
	}
	return SiteC
}
