// Package sim is a model of three sites over weeks: A and B are nodes of one cluster, host C has
// only copies. Guests start, stop, move and die, hosts and pools fail, clocks jump. Cron starts the
// real run of snap ([run.Run]), and a monitoring system asks for the real verdicts of check. The
// model knows the true state of all guests and disks; it checks that snap and check keep the
// promises of docs/reliability.md.
//
// The model imitates four things: ZFS (with snapwatch's channel programs), syncoid, Proxmox and
// cron. All decisions and the whole run of snap are real code: the run calls the model through a
// [machine], which may kill the run before any change and chooses the order of the run's parallel
// tasks. The alert rules, and the code that judges the copies on C, are real code, too.
package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// Tick is the usual time between two runs of cron and between two runs of check on C; a [Setup]
// may set another time.
const Tick = 15 * time.Minute

// Setup holds the settings of one simulated week.
type Setup struct {
	Start     time.Time
	Keep      string
	Bookmarks int
	Grace     time.Duration
	// Properties is true if replication also sends properties (syncoid --sendoptions=p).
	Properties bool
	// SyncSnaps is true if syncoid makes its own snapshots for sending.
	SyncSnaps bool
	// RollsBack is true if syncoid is older than 2.2. A syncoid before version 2.2 rolls a copy
	// back itself, and the rollback destroys the copy's newest bookmarks.
	RollsBack bool
	// Pvesr is true if Proxmox replicates between the nodes A and B after each run of snap.
	Pvesr bool
	// Relay is true if C always receives from A, whichever node runs the guest (B -> A -> C).
	Relay bool
	// Every is the number of ticks between two replications.
	Every int
	// Whole is true if replication sends with -R, so that a copy loses each snapshot that its
	// source has lost.
	Whole bool
	// History is the largest number of records in a pool's history, 0 for no limit.
	History int
	// Sanoid is true if sanoid runs on A in addition to snapwatch, on all disks.
	Sanoid bool
	// Frozen lists the VMIDs of the guests that snap freezes while it takes their snapshots.
	Frozen []int
	// Configs is true if the guests' configurations are kept with their snapshots.
	Configs bool
	// Hooks says how often hooks run before and after snapshots, after stops and after prune.
	// "guest" means once for each guest, "run" means once in each run, and "" means never.
	Hooks string
	// Index is true if a run saves an index of the snapshots for the next run.
	Index bool
	// Again is true if channel programs sometimes fail with an error after which snap must try
	// again.
	Again bool
	// Off lists the VMIDs of the guests that are off when the week begins.
	Off []int
	// Order is the random seed for the order of a run's parallel tasks.
	Order uint64
	// Tick is the time between two runs of cron, 0 for the usual time.
	Tick time.Duration
	// Guests lists the guests at the beginning of the week; nil means the usual three guests.
	Guests []Owner
}

// Owner is a guest at the beginning of a week, with the names of its disks.
type Owner struct {
	VMID  int
	Kind  pve.Kind
	Disks []string
}

// usual returns the guests that most simulated weeks have.
func usual() []Owner {
	return []Owner{
		{100, pve.QEMU, []string{"tank/data/vm-100-disk-0", "ssd/vm-100-disk-1"}},
		{101, pve.LXC, []string{"tank/data/subvol-101-disk-0"}},
		{102, pve.QEMU, []string{"ssd/vm-102-disk-0"}},
	}
}

// node is a host of the simulated cluster.
type node struct {
	name   string
	skew   time.Duration
	booted time.Time
	sets   map[string]*dataset
	pools  map[string]*poolState
	report recorded
	hooks  hooking
	// states lists the states that the node's runs have saved for later runs, oldest first.
	states []report.State
	// ignored is the tick until which the node's snapwatch configuration leaves out all disks.
	ignored int
	// Each field in the next line stands for one kind of fault: the field's value is the tick until
	// which the node has the fault.
	down, booting, cronOff, cut, pveshBad, unsaved, lacking, slow, slowPrograms, unread, unreadable, lost int

	lacks int    // number of the disk that no listing has
	pvesh string // the present fault of pvesh
	// unreadableFile is the kind of files that cannot be read at present.
	unreadableFile string
	kill           int // the point at which the next run is killed, 0 for never
	skewEnd        int
	killHook       int  // number of the hook during which a run is killed, 0 for none
	disturbed      bool // true if something happened to the node in this tick
}

// recorded contains the files that a node's runs saved: the last report, the state for the next
// run, and the indexes.
type recorded struct {
	last  report.Run
	state report.State
	// indexes has, by pool, the indexes of snapshots that runs have saved, oldest first.
	indexes map[string][]string
}

// poolState has, for each of three states of a simulated pool, the tick until which the pool has
// this state. In the state locked, another run holds the lock of the pool.
type poolState struct{ full, suspended, locked int }

func (n *node) clock(now time.Time) time.Time { return now.Add(n.skew).In(zone) }

// guest is the true state of a simulated virtual machine or container.
type guest struct {
	vmid int
	kind pve.Kind
	home int // number of the node that has the guest's configuration
	// alive is true while a process of the guest holds the disks. since is the time when the guest
	// last began to run. off is the time when the guest last ended.
	alive      bool
	since, off time.Time
	prelaunch  bool // true while the process exists only for a backup
	paused     bool
	frozen     bool // true while a run has frozen the guest
	// owned is the time of a run's note about the guest's freeze, nil if there is no note. refuses
	// is the number of thaws that the guest's agent will still refuse. runsFrozen counts the runs
	// that have left the guest frozen.
	owned *time.Time
	// frozenBy is the run that froze the guest, nil if there is no note.
	frozenBy   *machine
	refuses    int
	runsFrozen int
	memory     int // the memory size in the guest's configuration
	lock       string
	lockEnd    int
	rebooting  int // the tick at which the reboot ends
	template   bool
	ha         bool
	gone       bool // true once the guest is destroyed
	flocked    bool // true while Proxmox holds the guest's lock
	flockEnd   int  // the tick until which somebody else holds the lock
	starting   bool // true while Proxmox holds the lock for a start that ends after this run
	autostart  bool // true if the guest starts when its host boots
	disks      []string
	// quiet counts the undisturbed runs of snap on the guest's node since the guest's last event.
	quiet     int
	disturbed bool // true if something happened to the guest in this tick
}

// World is the simulated state of all three sites.
type World struct {
	Setup
	now   time.Time
	tick  int
	nodes [2]*node
	c     vault
	// guests has all simulated guests by VMID. order lists the VMIDs in a fixed order, because the
	// same seed must play the same week.
	guests   map[int]*guest
	order    []int
	taken    map[uint64]taken
	serial   uint64
	contents int

	retention, vaultKeeps snapper.Retention
	policy                checker.Policy
	byProxmox             bool            // true while Proxmox's own replication sends
	cutMid                bool            // true if the next replication to C breaks off in the middle
	held                  map[int]int     // number of locks that runs hold on each guest, by VMID
	busy                  map[string]bool // true, by host and pool, if a run has locked the pool
	chance, aside         *rand.Rand
	plan                  []Step
	later                 []Step // steps that wait for a guest's lock
	stepped               int    // number of steps that have happened
	underway                     // the model's knowledge of the current run
	jumps                 int    // number of jumps of the nodes' clocks; each may add a day
	pairs                 map[string]*pair
	histories             map[string][]event // the histories of the pools, by host and name
	apart                 int                // the tick until which the nodes cannot reach each other
	story                 []string
	Fail                  string // the first broken promise, "" if none was broken
	stats                 Stats
	observe               func(checker.Report)
	lab                   Lab
	parsed                map[string]diskName
	idle                  []*coroutine // see crew
}

// Stats counts how often the model checked each promise of docs/reliability.md, to show that the
// model really checks all promises.
type Stats struct {
	Histories, Abandoned                                                                                                                                           int
	Runs, Stops, Starts, Destroyed, Pruned, MustAlarm, MustBeSilent, Based, Labels, Idempotent, Consistent, Configs, Unblocked, Hooks, Indexed, Reports, Overtaken int
}

// underway contains the model's records about a running run of snap.
type underway struct {
	// planned is the time of the run's plan by the node's clock, zero before the plan is made.
	planned time.Time
	// The field `before` has, by dataset, the snapshots and bookmarks that a disk had before this
	// run destroyed the first _stopped snapshot of the disk.
	before map[string][]zfs.Snapshot
	// unmarked has, by DATASET#NAME, the bookmarks that the run destroyed; the value is true for a
	// bookmark of a discarded history.
	unmarked map[string]bool
	// drops has, by copy, the snapshots that this run of prune may destroy. pruneBegan is the time
	// of the run's beginning, by C's clock.
	drops      map[string]map[string]bool
	pruneBegan time.Time
}

// vault is the simulated site C, which has only copies.
type vault struct {
	skew    time.Duration
	skewEnd int
	sets    map[string]*dataset
	seen    scan.Inventory
	report  recorded // the records of prune on C
	hooks   hooking
	cut     int
}

var zone = mustZone()

func mustZone() *time.Location {
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return z
}

var nodeNames = [2]string{"pve-a", "pve-b"}

// NewWorld returns the three simulated sites at the beginning of a week: all guests are
// configured on A.
func NewWorld(s Setup) *World {
	if s.Tick == 0 {
		s.Tick = Tick
	}
	if s.Guests == nil {
		s.Guests = usual()
	}
	w := &World{
		lab: nowhere{}, parsed: map[string]diskName{}, Setup: s, now: s.Start, guests: map[int]*guest{}, taken: map[uint64]taken{},
		retention: retentionOf(s.Keep), vaultKeeps: retentionOf(s.VaultKeeps()), policy: checker.NewPolicy(config.Default()),
		pairs: map[string]*pair{}, histories: map[string][]event{}, busy: map[string]bool{}, held: map[int]int{},
		chance: rand.New(rand.NewPCG(s.Order, 0)), aside: rand.New(rand.NewPCG(s.Order, 1)),
		c: vault{sets: map[string]*dataset{}, seen: scan.Inventory{}, hooks: newHooking()},
	}
	w.policy.MaxDataAge = checker.DefaultMaxDataAge
	for i := range w.nodes {
		w.nodes[i] = &node{
			name: nodeNames[i], booted: s.Start.Add(-24 * time.Hour), sets: map[string]*dataset{}, hooks: newHooking(),
			pools: map[string]*poolState{"tank": {}, "ssd": {}},
		}
		w.nodes[i].report.last.LastSuccess = w.nodes[i].clock(s.Start)
	}
	for _, o := range s.Guests {
		w.addGuest(o.VMID, o.Kind, o.Disks...)
	}
	for _, g := range w.guests {
		g.ha = g.vmid == 102
		g.alive, g.since, g.autostart = true, w.now, true
	}
	for _, vmid := range s.Off {
		g := w.guests[vmid]
		g.alive, g.off, g.autostart, g.ha = false, w.now, false, false
	}
	return w
}

func retentionOf(words string) snapper.Retention {
	keep, err := config.ParseKeep(strings.Fields(words))
	if err != nil {
		panic(err)
	}
	return snapper.RetentionOf(keep)
}

// VaultKeeps returns the retention of prune on C: almost nothing, or some days.
func (s Setup) VaultKeeps() string {
	if s.Bookmarks < 30 {
		return "f6"
	}
	return "f6 d7"
}

func (w *World) addGuest(vmid int, kind pve.Kind, disks ...string) {
	if _, old := w.guests[vmid]; !old {
		w.order = append(w.order, vmid)
	}
	w.guests[vmid] = &guest{vmid: vmid, kind: kind, disks: disks, off: w.now}
	for _, name := range disks {
		w.create(w.nodes[0], name)
	}
}

func (w *World) create(n *node, name string) *dataset {
	w.serial++
	d := &dataset{name: name, host: n.name, guid: w.serial, created: n.clock(w.now)}
	w.write(d)
	n.sets[name] = d
	return d
}

// source returns a guest's disk on the node that has the guest's configuration, nil if the node
// does not have that disk.
func (w *World) source(g *guest, name string) *dataset { return w.nodes[g.home].sets[name] }

// say adds a line to the description of the simulated week.
func (w *World) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s  %s", w.now.In(zone).Format("Mon 02.01. 15:04:05"), fmt.Sprintf(format, args...)))
}

// recordBroken records a broken promise of docs/reliability.md. recordBroken records only the
// first broken promise.
func (w *World) recordBroken(format string, args ...any) {
	if w.Fail == "" {
		w.Fail = fmt.Sprintf(format, args...)
		w.say("BROKEN: %s", w.Fail)
	}
}

// disturb records an event of a guest: in the next two runs, snap may have outdated facts about the
// guest.
func (g *guest) disturb() { g.quiet, g.disturbed = 0, true }

// The method `forgets` plays the effect of a lost or old state file: the node no longer knows which
// disks belong to its own guests.
func (n *node) forgets() {
	for _, d := range n.sets {
		d.received, d.away = d.ever, false
	}
}

func (w *World) disturbNode(n *node) {
	n.disturbed = true
	for _, g := range w.guests {
		if w.nodes[g.home] == n {
			g.disturb()
		}
	}
}

// volumes returns a guest's disks by their names in the guest's Proxmox configuration.
func (g *guest) volumes() []pve.Volume {
	var list []pve.Volume
	for i, d := range g.disks {
		list = append(list, pve.Volume{Key: fmt.Sprintf("scsi%d", i), Storage: storageOf[zfs.Parent(d)], Name: zfs.Base(d)})
	}
	return list
}

var storageOf = map[string]string{"tank/data": "data", "ssd": "ssd"}
