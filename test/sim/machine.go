package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"snapwatch/config"
	"snapwatch/internal/lock"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/run"
)

var (
	errHung   = errors.New("pvesh hung")
	errFailed = errors.New("pvesh failed")
	errKilled = errors.New("this run was killed")
	errDown   = errors.New("the host is down")
	errNone   = errors.New("the model has no such thing")
)

// killBeforeAll is the kill point before a run's first change, so that the killed run changes
// nothing. killPoints is the number of points at which a run can be killed: before its first
// change, before its second change, and so on.
const (
	killBeforeAll = 1
	killPoints    = 12
)

// confirmStop is the time between a run's two readings of the state of a guest that seems to have
// stopped.
const confirmStop = 20 * time.Second

// machine is a simulated node, as one run of snap sees the node; machine implements [run.World].
// After the kill of the run or the death of the host, each call of a method of machine fails and
// changes nothing.
type machine struct {
	crew
	w *World
	n *node
	// For each phase of the tick that the run reaches, the machine calls the function `between`,
	// which plays the steps of this phase.
	between func(phase int)
	reached int
	// kill counts down the run's changes: the run dies before the change at which kill becomes 0.
	// If `kill` is 0 at the start of a run, the run is not killed.
	kill int
	dead error
	// ended is true when the run is over. unindexed is true for a run that does not use the index
	// of snapshots.
	ended, unindexed bool
	// holds has, by VMID, the number of locks that the run holds on the guest. refused is true, by
	// VMID, if another program held the guest's lock when the run last tried to take it; then the
	// run may snapshot the living guest without the lock.
	holds   map[int]int
	refused map[int]bool
	// apart has the VMIDs of the guests whose migration the run locks out. overtaken has the VMIDs
	// of the guests that were started before their _stopped snapshots existed, because a channel
	// program took long and the run had to release the guests' locks.
	apart, overtaken map[int]bool
	// replica is true on C, because C is not a Proxmox node.
	replica bool
	// The field `looks` is true for a dry run: the run changes nothing, and no step happens during
	// the run. seenStopped has, for a dry run, the VMIDs of the guests that an earlier run found
	// off.
	looks       bool
	seenStopped []int
	// final is true for a run of the command finalize. unblocks is true for a run of the command
	// unblock, which rotates no snapshot.
	final, unblocks bool
	// timers has the functions that the machine must call at a later time.
	timers []*timer
	// Three fields describe the beginning of the run: began is the true time, beganAt is the number
	// of the newest object in the model, and stepsBefore is the number of steps that had happened.
	began       time.Time
	beganAt     uint64
	stepsBefore int
	// hindered is the first fault that this run met, "" if it met none. did counts the changes that
	// the run made. unclear has the datasets for which the result of a channel program was lost.
	hindered string
	did      map[report.Event]int
	unclear  map[string]bool
	// While unblock works, a send of the guest's snapshots begins on the pool that the field `send`
	// names; if `send` is "", no send begins. sent is true if the send prevented a destroy.
	// otherUntil is the time until which another run has the locks of the pools.
	send       string
	sent       bool
	otherUntil time.Time
	// snapped is true, by dataset, if this run has snapshotted the dataset. whileFrozen has, by
	// full snapshot name, an entry for each snapshot of this run: true if the snapshot's guest was
	// frozen.
	snapped, whileFrozen map[string]bool
}

var _ run.World = &machine{}

// call is the first step of each method of [run.World]: call lets other tasks continue, and returns
// an error if the run is over.
func (m *machine) call() error {
	m.turn()
	if !m.looks {
		m.w.unwait()
	}
	return m.whyOver()
}

// whyOver returns the reason why the simulated run is over, nil if the run continues.
func (m *machine) whyOver() error {
	if m.dead == nil && m.w.tick < m.n.down {
		m.dead = errDown
	}
	return m.dead
}

// The method `change` is the first step of each method that changes a pool or file. A call of
// `change` may kill the run. At the run's first change, the plan is complete.
func (m *machine) change() error {
	if err := m.call(); err != nil {
		return err
	}
	if m.looks {
		m.w.recordBroken("a run at %s that must change nothing changes something", m.n.name)
	}
	m.planMade()
	m.w.planned = m.n.clock(m.w.now) // each round of the run makes its own plan
	if m.kill--; m.kill == 0 {
		m.dead = errKilled
	}
	return m.whyOver()
}

// planMade plays the steps of the week that happen between a run's plan and its first channel
// program.
func (m *machine) planMade() {
	if m.reached < beforeProgram {
		m.w.planned = m.n.clock(m.w.now)
	}
	m.reach(betweenLooks)
	m.reach(beforeProgram)
}

func (m *machine) reach(phase int) {
	if m.reached < phase && m.w.tick >= m.n.down {
		m.reached = phase
		m.between(phase)
	}
}

// begins checks each action that a run begins on a guest's disk; dataset is "" for an action that
// concerns no guest. While the run holds locks of guests, the action must concern one of these
// guests, because other programs wait for the locks. A run may also begin an action on a guest
// whose lock the run did not get.
func (m *machine) begins(what, dataset string) {
	if vmid := m.w.parse(dataset).vmid; len(m.holds) > 0 && m.holds[vmid] == 0 && !m.refused[vmid] {
		m.w.recordBroken("%s begins a %s of %q while it holds the locks of the guests %v", m.n.name, what, dataset, slices.Sorted(maps.Keys(m.holds)))
	}
}

// Now implements [run.Time].
func (m *machine) Now() time.Time { return m.n.clock(m.w.now) }

// Wait implements [run.Time]. A run waits between its two looks at a guest; a run also waits for
// the end of hooks that other rounds or other runs started.
func (m *machine) Wait(ctx context.Context, d time.Duration) error {
	if err := m.call(); err != nil || m.looks {
		return err
	}
	if until, limited := ctx.Value(deadline{}).(time.Time); limited && m.w.now.Add(d).After(until) {
		return context.DeadlineExceeded
	}
	m.pass(d)
	if d == confirmStop {
		m.reach(betweenLooks)
	}
	return m.call()
}

// deadline is the context key for the time at which a wait of the run must end.
type deadline struct{}

// maxWait is the longest time for which a simulated run may wait.
const maxWait = 20 * time.Second

// timer is a function that the simulated machine calls at a given time.
type timer struct {
	at time.Time
	do func()
}

// After implements [run.Time].
func (m *machine) After(d time.Duration, do func()) (cancel func()) {
	t := &timer{m.w.now.Add(d), do}
	m.timers = append(m.timers, t)
	return func() { t.do = nil }
}

// pass moves the model's clock forward. pass calls each timer at the time at which the timer is
// due. After each timer, pass plays the steps that waited for a lock which the timer has released.
func (m *machine) pass(d time.Duration) {
	until := m.w.now.Add(d)
	for t := m.due(until); t != nil; t = m.due(until) {
		m.w.now = later(m.w.now, t.at)
		do := t.do
		t.do = nil
		do()
		m.w.unwait()
	}
	m.w.now = until
}

// due returns the first timer that is due at the given time, nil if there is none.
func (m *machine) due(at time.Time) *timer {
	m.timers = slices.DeleteFunc(m.timers, func(t *timer) bool { return t.do == nil })
	var first *timer
	for _, t := range m.timers {
		if !t.at.After(at) && (first == nil || t.at.Before(first.at)) {
			first = t
		}
	}
	return first
}

// slowAnswer is the duration of a pvesh call on a slow node.
const slowAnswer = 20 * time.Second

// ask is the first step of each method that asks Proxmox. While a run asks Proxmox, the run must
// not hold any guest's lock.
func (m *machine) ask(what string) error {
	if err := m.call(); err != nil {
		return err
	}
	m.begins(what, "")
	if m.w.tick < m.n.pveshBad && m.n.pvesh == "is slow" && !m.looks {
		m.pass(slowAnswer)
	}
	return nil
}

// Timeout implements [run.Time]. A timeout limits the waits of a run. Simulated programs need no
// timeout: a simulated program that hangs returns an error immediately.
func (m *machine) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithValue(ctx, deadline{}, m.w.now.Add(min(d, maxWait))), func() {}
}

// Installed implements [run.Proxmox].
func (m *machine) Installed() bool { return !m.replica }

// Cluster implements [run.Proxmox].
func (m *machine) Cluster(context.Context) (pve.Cluster, error) {
	if m.replica {
		return pve.Cluster{}, pve.ErrNotPVE
	}
	if m.unreadable("configuration") {
		return pve.Cluster{}, errFailed
	}
	return m.w.cluster(m.n), m.call()
}

// unreadable reports whether a file of the given kind cannot be read on the node, because of a
// simulated fault.
func (m *machine) unreadable(file string) bool {
	bad := m.w.tick < m.n.unreadable && m.n.unreadableFile == file && !m.replica
	if bad {
		m.hinder(file + " unreadable")
	}
	return bad
}

func (w *World) cluster(n *node) pve.Cluster {
	c := pve.Cluster{
		Node: n.name, Nodes: nodeNames[:], Guests: map[int]pve.Config{}, Elsewhere: map[int]string{}, HAStarted: map[int]bool{},
		Storages: []pve.Storage{{Name: "data", Dataset: "tank/data"}, {Name: "ssd", Dataset: "ssd"}},
	}
	for _, vmid := range w.order {
		k := w.guests[vmid]
		switch {
		case k.gone:
		case w.nodes[k.home] != n:
			c.Elsewhere[vmid] = w.nodes[k.home].name
		default:
			c.Guests[vmid] = pve.Config{ID: pve.ID{VMID: vmid, Kind: k.kind}, Template: k.template, Lock: k.lock, Volumes: k.volumes(), Text: k.text()}
			c.HAStarted[vmid] = k.ha
		}
	}
	return c
}

// List implements [run.Proxmox].
func (m *machine) List(context.Context) (map[pve.ID]pve.Listed, error) {
	if err := m.ask("pvesh"); err != nil {
		return nil, err
	}
	bad := ""
	if m.w.tick < m.n.pveshBad {
		bad = m.n.pvesh
		m.hinder("pvesh " + bad)
	}
	switch bad {
	case "fails":
		return nil, errFailed
	case "hangs":
		return nil, errHung
	case "lists nothing":
		return nil, nil
	}
	listed := map[pve.ID]pve.Listed{}
	for _, vmid := range m.w.order {
		k := m.w.guests[vmid]
		if k.gone || m.w.nodes[k.home] != m.n {
			continue
		}
		l := pve.Listed{ID: pve.ID{VMID: vmid, Kind: k.kind}, Status: "stopped"}
		switch {
		case bad != "" && bad != "is slow":
			l.Status = "unknown"
		case k.alive || k.prelaunch:
			l.Status = "running"
		}
		listed[l.ID] = l
	}
	return listed, nil
}

// RunState implements [run.Proxmox].
func (m *machine) RunState(_ context.Context, vmid int) (string, error) {
	if err := m.ask("pvesh"); err != nil {
		return "", err
	}
	k := m.w.guests[vmid]
	switch {
	case m.w.tick < m.n.pveshBad && m.n.pvesh != "is slow":
		return "", errFailed
	case k.prelaunch:
		return "prelaunch", nil
	case k.paused:
		return "paused", nil
	}
	return "running", nil
}

// Process implements [run.Proxmox].
func (m *machine) Process(id pve.ID) (bool, error) {
	k := m.w.guests[id.VMID]
	if m.unreadable("process") {
		return false, errFailed
	}
	return k.alive || k.prelaunch, m.call()
}

// Rebooting implements [run.Proxmox].
func (m *machine) Rebooting(id pve.ID) bool { return m.w.tick < m.w.guests[id.VMID].rebooting }

// GuestConfig implements [run.Proxmox].
func (m *machine) GuestConfig(_ context.Context, id pve.ID) (pve.Config, error) {
	if err := m.call(); err != nil {
		return pve.Config{}, err
	}
	config, here := m.w.cluster(m.n).Guests[id.VMID]
	if !here {
		return pve.Config{}, fs.ErrNotExist
	}
	return config, nil
}

// RollingBack implements [run.Proxmox].
func (m *machine) RollingBack(id pve.ID) bool { return m.w.guests[id.VMID].lock == "rollback" }

// LockMigration implements [run.Proxmox].
func (m *machine) LockMigration(id pve.ID) (release func(), err error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	if m.w.guests[id.VMID].lock == "migrate" {
		return nil, &lock.Busy{Path: fmt.Sprintf("pve-migrate-%d", id.VMID)}
	}
	m.apart[id.VMID] = true
	locked := m.w.now
	return func() {
		if m.w.now.Sub(locked) > migrationPatience {
			m.w.recordBroken("%s holds the migration lock of guest %d for %s", m.n.name, id.VMID, m.w.now.Sub(locked))
		}
		delete(m.apart, id.VMID)
	}, nil
}

// Uptime implements [run.Proxmox].
func (m *machine) Uptime() (time.Duration, error) { return m.w.now.Sub(m.n.booted), m.call() }

// BootState implements [run.Proxmox].
func (m *machine) BootState(context.Context) (string, error) {
	if m.w.tick < m.n.booting {
		return "activating", m.call()
	}
	return "active", m.call()
}

// Shutdown implements [run.Proxmox].
func (m *machine) Shutdown(context.Context) snapper.Shutdown {
	if !m.final {
		return snapper.Shutdown{Err: errNone}
	}
	return snapper.Shutdown{System: "stopping", Guests: "inactive", HA: "inactive"}
}

// lockPatience is the time for which Proxmox waits for the lock of a guest's configuration.
// migrationPatience is the time for which Proxmox's replication and migration wait for the lock of
// a guest's migration.
const (
	lockPatience      = 10 * time.Second
	migrationPatience = 2 * time.Second
)

// LockGuest implements [run.Proxmox].
func (m *machine) LockGuest(id pve.ID) (release func(), err error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	m.planMade()
	if err := m.whyOver(); err != nil {
		return nil, err
	}
	if m.w.guests[id.VMID].flocked {
		m.refused[id.VMID] = true
		m.hinder("a guest's lock is busy")
		return nil, &lock.Busy{Path: fmt.Sprintf("lock-%d.conf", id.VMID)}
	}
	if m.w.held[id.VMID] == 0 && m.chance.IntN(8) == 0 {
		m.w.guests[id.VMID].memory++ // somebody changes the configuration just before the run locks the guest
	}
	m.justBefore(m.w.guests[id.VMID])
	m.holds[id.VMID]++
	m.w.held[id.VMID]++
	delete(m.refused, id.VMID)
	locked := m.w.now
	return func() {
		if m.w.now.Sub(locked) > lockPatience {
			m.w.recordBroken("%s holds the lock of guest %d for %s", m.n.name, id.VMID, m.w.now.Sub(locked))
		}
		if m.holds[id.VMID]--; m.holds[id.VMID] == 0 {
			delete(m.holds, id.VMID)
		}
		if m.w.held[id.VMID]--; m.w.held[id.VMID] == 0 {
			delete(m.w.held, id.VMID)
		}
	}, nil
}

// justBefore plays that somebody starts a guest just before the run locks the guest. Some guests
// that are started by justBefore reboot immediately.
func (m *machine) justBefore(g *guest) {
	if g.alive || m.w.held[g.vmid] > 0 || m.looks || m.final || m.unblocks || m.chance.IntN(16) > 0 {
		return
	}
	m.w.start(g)
	if !g.alive {
		return
	}
	m.w.say("guest %d is started just before the run locks it", g.vmid)
	m.w.stepped++
	m.n.disturbed = true
	if m.chance.IntN(2) == 0 {
		m.w.say("guest %d reboots", g.vmid)
		m.w.stop(g)
		g.rebooting = m.w.tick + 1
	}
}

// Hostname implements [run.World].
func (m *machine) Hostname() (string, error) { return m.n.name, nil }

// Pools implements [run.World].
func (m *machine) Pools() ([]string, error) { return []string{"ssd", "tank"}, m.call() }

// Pool implements [run.World].
func (m *machine) Pool(name string) run.Pool { return &machinePool{machine: m, name: name} }

// LastReport implements [run.Records].
func (m *machine) LastReport(string) (report.Run, error) {
	if m.unreadable("report") {
		return report.Run{}, errFailed
	}
	return m.n.report.last, m.call()
}

// SaveReport implements [run.Records].
func (m *machine) SaveReport(_ string, r *report.Run) error {
	if err := m.save(); err != nil {
		return err
	}
	m.n.report.last = *r
	if m.w.tick%32 == 5 { // seldom, because this takes long
		m.n.report.last = throughJSON(*r)
	}
	return nil
}

// save is the first step of each method that writes a file of the run.
func (m *machine) save() error {
	if err := m.change(); err != nil {
		return err
	}
	if m.w.tick < m.n.unsaved {
		return syscall.ENOSPC
	}
	return nil
}

// LoadState implements [run.Records].
func (m *machine) LoadState() (report.State, error) {
	if m.unreadable("state") {
		m.n.forgets()
		return report.State{}, errFailed
	}
	s := m.n.report.state
	if m.looks {
		s.SeenStopped = m.seenStopped
	}
	s.Checked, s.SlowHistory = maps.Clone(s.Checked), maps.Clone(s.SlowHistory)
	return s, m.call()
}

// LockRecords implements [run.Records].
func (m *machine) LockRecords(context.Context) (func(), error) { return func() {}, m.call() }

// SaveState implements [run.Records].
func (m *machine) SaveState(s report.State) error {
	if err := m.save(); err != nil {
		return err
	}
	if m.w.tick%32 == 5 {
		s = throughJSON(s)
	}
	m.n.report.state = s
	m.recordNotes(s)
	m.n.states = append(m.n.states, s)
	return nil
}

// recordNotes records, after a run has saved its state, whether the guest of each disk in this
// state is on the other node.
func (m *machine) recordNotes(s report.State) {
	for name, d := range m.n.sets {
		g := m.w.guests[m.w.parse(name).vmid]
		if c := s.Checked[name]; g == nil || c.GUID != d.guid {
			continue
		}
		away := m.w.nodes[g.home] != m.n
		if away || d.away || g.alive {
			d.received = false
		}
		d.away = away
	}
}

// options returns the options of a run of snap or prune that cron starts on a simulated host.
func (w *World) options(n *node, at run.World, words string) run.Options {
	keep, err := config.ParseKeep(strings.Fields(words))
	if err != nil {
		panic(err)
	}
	cfg := config.Default()
	cfg.Bookmarks, cfg.StoppedGrace, cfg.AdoptPeerLabels = w.Bookmarks, config.Duration(w.Grace), true
	cfg.ConfirmStop = config.Duration(confirmStop)
	cfg.Quiesced, cfg.CaptureConfig, cfg.Hooks = w.quiesced(), w.Configs, w.hooksOf()
	if w.tick < n.ignored {
		cfg.Overrides = []config.Override{{Ignore: true}}
	}
	return run.Options{Config: cfg, Keep: keep, World: at}
}

// snap plays one run of snap that cron starts on a node.
func (w *World) snap(n *node, between func(phase int)) {
	if w.tick < n.down || w.tick < n.cronOff {
		between(betweenLooks)
		return
	}
	w.sameWithoutIndex(n)
	m := w.machineOn(n)
	m.between, m.kill = between, n.kill
	n.kill = 0
	if m.kill == killBeforeAll {
		w.lab.Killed(w.siteOf(n))
	} else {
		w.lab.Run(w.siteOf(n))
	}
	w.stats.Runs++
	other := w.underway
	w.underway = underway{before: map[string][]zfs.Snapshot{}, unmarked: map[string]bool{}}
	defer func() { w.underway = other }()
	held := maps.Clone(w.held)
	before := n.report
	options := w.options(n, m, w.Keep)
	options.Tell = func(problems []report.Problem) {
		if m.dead == nil {
			n.hooks.told = append(n.hooks.told, problems...)
		}
	}
	plan, done, err := run.Run(context.Background(), options)
	m.planMade()
	m.reach(duringProgram)
	m.ended = true
	w.thawed(n, m, done)
	if !maps.Equal(held, w.held) || len(m.apart) > 0 {
		w.recordBroken("the run on %s never released a guest's lock", n.name)
	}
	w.abandoned(n, plan.Abandoned)
	switch {
	case errors.Is(m.dead, errKilled):
		w.say("%s: the run was killed", n.name)
		w.disturbNode(n)
	case m.dead != nil || w.tick < n.down:
	case err != nil && m.hindered == "configuration unreadable":
		if len(m.did) > 0 {
			w.recordBroken("the run on %s could not begin, and changed something: %v", n.name, m.did)
		}
	case err != nil:
		w.recordBroken("the run on %s could not begin: %v", n.name, err)
	default:
		w.truthful(n, m, done)
		w.nothingLeft(n, n.report.state, done)
		w.hooked(n)
		w.idempotent(n, plan, complete(done), func() (snapper.Plan, error) { return w.planAgain(n, before.state.SeenStopped) })
	}
}

// machineOn returns a simulated machine for one run on a host.
func (w *World) machineOn(n *node) *machine {
	return &machine{
		crew: crew{chance: w.chance, late: w.tick < n.slow, idle: &w.idle}, w: w, n: n, began: w.now, beganAt: w.serial, stepsBefore: w.stepped,
		holds: map[int]int{}, refused: map[int]bool{}, apart: map[int]bool{}, overtaken: map[int]bool{}, did: map[report.Event]int{}, unclear: map[string]bool{},
	}
}

// planAgain returns the plan of a dry run of snap that immediately follows a run.
func (w *World) planAgain(n *node, seenStopped []int) (snapper.Plan, error) {
	w.now = w.now.Add(1) // no two runs begin at the same time
	m := w.machineOn(n)
	m.looks, m.seenStopped, m.reached = true, seenStopped, AfterRun
	options := w.options(n, m, w.Keep)
	options.DryRun = true
	plan, _, err := run.Run(context.Background(), options)
	return plan, err
}

// complete reports whether a run took all due snapshots on all pools and postponed no guest to the
// next run.
func complete(done report.Run) bool {
	return !slices.ContainsFunc(done.Pools, func(p report.Pool) bool { return !p.LockedSince.IsZero() }) &&
		!slices.ContainsFunc(done.Disks, func(d report.Disk) bool {
			return d.Error != "" || strings.HasPrefix(d.Reason, fmt.Sprintf("guest %d: ", d.VMID))
		})
}
