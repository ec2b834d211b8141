package sim

import (
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// The sites of the model have numbers: SiteA and SiteB are the nodes A and B of a cluster, SiteC
// is host C with the copies.
const (
	SiteA = iota
	SiteB
	SiteC
)

// siteNames are the names of the three sites, by site number.
var siteNames = [...]string{nodeNames[SiteA], nodeNames[SiteB], "c"}

// Lab repeats on real machines the events of the model. The model calls the lab's method for an
// event before the event changes the model. While the lab's method runs, [World.Guests] and
// [World.Disks] show the result of all earlier events.
type Lab interface {
	// Run repeats a run of snap that cron starts on a node. Killed repeats a run of snap that is
	// killed before its first change.
	Run(node int)
	Killed(node int)
	// TimePasses is called before the model's clock moves forward by some minutes. When TimePasses
	// returns, the lab must have finished all earlier events.
	TimePasses()
	// Send repeats one run of syncoid for one disk. Sent is called after the model has played the
	// replication that Send repeats.
	Send(Sending)
	Sent(Sending)
	// Rotated is called after another program's rotation has destroyed snapshots on a receiving
	// site; the argument snapshots has the names of the destroyed snapshots.
	Rotated(site int, name string, snapshots []string)
	// Prune repeats a run of snapwatch prune on C, with the retention of [Setup.VaultKeeps].
	Prune()
	// Looked is called at the end of a tick, when the command check runs on C.
	Looked()
}

// Sending is the replication of one disk from a node to another site. The field As is the disk's
// name at the target. Full is true if the disk is sent in full, because the target had no common
// base with the source and a person destroyed the target. Proxmox is true if Proxmox's own
// replication sends the disk.
type Sending struct {
	From, To      int
	Name, As      string
	Full, Proxmox bool
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

// PlayIn plays the steps of a week as [World.Play] does, and repeats each step in a lab.
func (w *World) PlayIn(lab Lab, ticks int, plan []Step) {
	w.lab = lab
	w.Play(ticks, plan)
}

// Guest is the true state of a simulated guest.
type Guest struct {
	VMID int
	Kind pve.Kind
	// Node is the number of the node that has the guest's configuration. Alive is true while the
	// guest runs on this node; Since is its start.
	Node  int
	Alive bool
	Since time.Time
	// Prelaunch is true while the guest's process exists only for a backup.
	Prelaunch, Paused, HA, Gone, Template bool
	Lock                                  string
	Disks                                 []string
}

// Guests returns all guests that ever existed, in the order of their creation.
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

// Disk is a dataset of a simulated site. Content is a number for the state of the disk's data:
// equal numbers mean equal data. Size counts how often the simulated disk was enlarged. Origin is
// the snapshot that the disk was cloned from. RolledBack is the guid of the snapshot of the disk's
// last rollback.
type Disk struct {
	Name                 string
	GUID, RolledBack     uint64
	Content, Size        int
	Origin               string
	Snapshots, Bookmarks []zfs.Snapshot
	Running              zfs.Property
}

// Disks returns the datasets of a site, by name.
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

// Content returns a number for the data in the snapshot with the given guid: equal numbers mean
// equal data.
func (w *World) Content(guid uint64) int { return w.taken[guid].content }

// Now returns the true time of the model, whatever the sites' clocks show.
func (w *World) Now() time.Time { return w.now }

// Pvesh returns the name of the present fault of the program pvesh on a node, "" if pvesh works.
func (w *World) Pvesh(node int) string {
	if n := w.nodes[node]; w.tick < n.pveshBad {
		return n.pvesh
	}
	return ""
}

// Booting reports whether a node is just starting its guests after a boot.
func (w *World) Booting(node int) bool { return w.tick < w.nodes[node].booting }

// Verdicts returns the verdict of the command check on C for each disk on C, without asking the
// disks' owners.
func (w *World) Verdicts() map[string]checker.Verdict {
	all := map[string]checker.Verdict{}
	for _, r := range w.assemble().Disks {
		if w.c.sets[r.Dataset] != nil {
			all[r.Dataset] = r.Verdict
		}
	}
	return all
}

// siteOf returns the site number of a node. If the node is nil, siteOf returns the number of C.
func (w *World) siteOf(n *node) int {
	switch n {
	case w.nodes[SiteA]:
		return SiteA
	case w.nodes[SiteB]:
		return SiteB
	}
	return SiteC
}
