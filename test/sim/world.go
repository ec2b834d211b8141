// Package sim is a model of three sites over weeks: A and B are nodes of one cluster,
// C only receives. Guests start, stop, move and die, hosts and pools fail, clocks
// jump; cron runs the real run of snap ([run.Run]) and a monitoring system asks the real
// verdict. The model knows the truth and holds both to what docs/reliability.md promises.
//
// Modelled are ZFS with our channel programs, syncoid, Proxmox and cron. Real are all
// decisions and the whole run: it reaches the model through a [machine], which may kill it
// before any change, and chooses the order of what it does side by side. Real is, too, what
// is said of a copy on C, and the alert rules.
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

// Tick is the time between two runs of cron, and between two looks at C, unless a
// Setup has another.
const Tick = 15 * time.Minute

// Setup is what is drawn once for a week.
type Setup struct {
	Start     time.Time
	Keep      string
	Bookmarks int
	Grace     time.Duration
	// Properties: replication sends them (syncoid --sendoptions=p).
	Properties bool
	// SyncSnaps: replication makes snapshots of its own.
	SyncSnaps bool
	// RollsBack: replication is syncoid before 2.2, which rolls a copy back by itself; that
	// takes the newer bookmarks along.
	RollsBack bool
	// Pvesr: between the nodes Proxmox replicates, after each run.
	Pvesr bool
	// Relay: C receives from A whatever node runs the guest (B -> A -> C).
	Relay bool
	// Every is how many ticks lie between two replications.
	Every int
	// Whole: replication sends with -R, so that a copy loses what its source has lost.
	Whole bool
	// History is how many records of set-backs a pool's history holds, 0 for all.
	History int
	// Sanoid runs on A beside us, on all disks.
	Sanoid bool
	// Frozen are guests that are frozen while their snapshots are taken.
	Frozen []int
	// Configs: the guests' configurations are kept with their snapshots.
	Configs bool
	// Hooks are there before and after snapshots, after stops and after prune: for each guest,
	// or once a run; "" for none.
	Hooks string
	// Index: what was read of the snapshots is kept for the next run.
	Index bool
	// Again: now and then ZFS tells a program to try again.
	Again bool
	// Off are guests that are off when the week begins.
	Off []int
	// Order decides in which order a run does what it does side by side.
	Order uint64
	// Tick is the time between two runs of cron, 0 for the usual.
	Tick time.Duration
	// Guests are those of the week, nil for the usual three.
	Guests []Owner
}

// Owner is a guest that a week begins with, and its disks, as POOL/data/… or SSD/….
type Owner struct {
	VMID  int
	Kind  pve.Kind
	Disks []string
}

// usual are the guests of most weeks.
func usual() []Owner {
	return []Owner{
		{100, pve.QEMU, []string{"tank/data/vm-100-disk-0", "ssd/vm-100-disk-1"}},
		{101, pve.LXC, []string{"tank/data/subvol-101-disk-0"}},
		{102, pve.QEMU, []string{"ssd/vm-102-disk-0"}},
	}
}

// node is a host of the cluster.
type node struct {
	name   string
	skew   time.Duration
	booted time.Time
	sets   map[string]*dataset
	pools  map[string]*poolState
	report recorded
	hooks  hooking
	// states are what its runs left for the next one, the last of each run.
	states []report.State
	// ignored is until which tick the configuration leaves all disks out.
	ignored int
	// Until which tick something is wrong with it.
	down, booting, cronOff, cut, pveshBad, unsaved, lacking, slow, slowPrograms, unread int

	lacks     int    // which of its disks no listing has
	pvesh     string // what is wrong with pvesh
	kill      int    // the next run is killed at this point, 0 if not
	skewEnd   int
	killHook  int  // a run is killed while the hook of this number is at work, 0 if none is
	disturbed bool // in this tick
}

// recorded is what the last run on a node left.
type recorded struct {
	last  report.Run
	state report.State
	// indexes are those of the pools, the last of each run.
	indexes map[string][]string
}

// poolState is until when a pool is full or suspended, or another run is at work on it.
type poolState struct{ full, suspended, locked int }

func (n *node) clock(now time.Time) time.Time { return now.Add(n.skew).In(zone) }

// guest is a virtual machine or container, as it truly is.
type guest struct {
	vmid int
	kind pve.Kind
	home int // the node that has its configuration
	// alive: its process holds the disks. since is when it last began to run,
	// off when it last ended.
	alive      bool
	since, off time.Time
	prelaunch  bool // the process is there just for a backup
	paused     bool
	frozen     bool // by a run
	// owned is since when a run's note of a freeze is there. refuses is how often its agent
	// will refuse to thaw, runsFrozen how many runs have left it frozen.
	owned      *time.Time
	refuses    int
	runsFrozen int
	memory     int // what its configuration says
	lock       string
	lockEnd    int
	rebooting  int // until then
	template   bool
	ha         bool
	gone       bool // destroyed
	flocked    bool // Proxmox holds the guest's lock
	flockEnd   int  // for somebody else, until then
	starting   bool // flocked for a start that ends after this run
	autostart  bool // comes back when its host does
	disks      []string
	// quiet counts the clean runs on its node since anything happened to it.
	quiet     int
	disturbed bool // in this tick
}

// World is the state of all three sites.
type World struct {
	Setup
	now   time.Time
	tick  int
	nodes [2]*node
	c     vault
	// guests by VMID; order keeps runs deterministic.
	guests   map[int]*guest
	order    []int
	taken    map[uint64]taken
	serial   uint64
	contents int

	retention, vaultKeeps snapper.Retention
	policy                checker.Policy
	byProxmox             bool            // what is sent is sent by Proxmox
	cutMid                bool            // the next replication to C breaks off in the middle
	held                  map[int]int     // how often the runs hold a guest's lock
	busy                  map[string]bool // the pools, by host, that a run has locked
	chance, aside         *rand.Rand
	plan                  []Step
	later                 []Step // steps that wait for a lock
	underway                     // the run that is
	jumps                 int    // of the nodes' clocks, each of which may make a day more
	pairs                 map[string]*pair
	histories             map[string][]event // of the pools, by host and name
	apart                 int                // until when the nodes don't reach each other
	story                 []string
	Fail                  string // the first promise that was broken, "" if none
	stats                 Stats
	observe               func(checker.Report)
	lab                   Lab
	parsed                map[string]diskName
}

// Stats counts what was checked, to show that the properties were not empty.
type Stats struct {
	Histories, Abandoned                                                                                                                       int
	Runs, Stops, Starts, Destroyed, Pruned, MustAlarm, MustBeSilent, Based, Labels, Idempotent, Consistent, Configs, Unblocked, Hooks, Indexed int
}

// underway is what the model knows of a run.
type underway struct {
	// planned is when the plan was made, by the node's clock, zero before.
	planned time.Time
	// before is what disks had that lose a _stopped snapshot.
	before map[string][]zfs.Snapshot
	// unmarked are the bookmarks that it destroyed; true: of a discarded history.
	unmarked map[string]bool
}

// vault is site C.
type vault struct {
	skew    time.Duration
	skewEnd int
	sets    map[string]*dataset
	seen    scan.Inventory
	report  recorded // of prune
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

// NewWorld is the three sites as the week begins: everything is on A, and was just
// replicated.
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

// VaultKeeps is what prune on C is told to keep: next to nothing, or some days.
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

// source is the disk where its guest is configured, nil if it is not there.
func (w *World) source(g *guest, name string) *dataset { return w.nodes[g.home].sets[name] }

// say adds a line to the story.
func (w *World) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s  %s", w.now.In(zone).Format("Mon 02.01. 15:04:05"), fmt.Sprintf(format, args...)))
}

// broken records that a promise was broken; only the first is kept.
func (w *World) broken(format string, args ...any) {
	if w.Fail == "" {
		w.Fail = fmt.Sprintf(format, args...)
		w.say("BROKEN: %s", w.Fail)
	}
}

// disturb says that something happened to a guest: what is known of it may be wrong
// until two more runs.
func (g *guest) disturb() { g.quiet, g.disturbed = 0, true }

// forgets is told that what the last run left is lost, or old.
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

// volumes are a guest's disks as its configuration names them.
func (g *guest) volumes() []pve.Volume {
	var list []pve.Volume
	for i, d := range g.disks {
		list = append(list, pve.Volume{Key: fmt.Sprintf("scsi%d", i), Storage: storageOf[zfs.Parent(d)], Name: zfs.Base(d)})
	}
	return list
}

var storageOf = map[string]string{"tank/data": "data", "ssd": "ssd"}
