package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/lock"
	"snapwatch/internal/note"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// virtualWorld is a simulated host with pools and guests, on which a run has real goroutines and
// virtual time (testing/synctest). A virtualWorld is for tests about the time for which a run holds
// locks. A virtualWorld records the events that happen during a run.
type virtualWorld struct {
	Local // for the timers and lanes of Local
	begin time.Time
	// shutdown is true while the simulated host shuts down, and plain is true if the host has no
	// Proxmox.
	shutdown, plain bool
	guests          map[int]*virtualGuest
	pools           map[string]*virtualPool
	state           report.State
	stateErr        error
	clusterErr      error
	// clusterEnds is the time from which the cluster's files cannot be read, zero for never.
	clusterEnds time.Time
	last        report.Run
	// records is the lock of the state and the reports. If recordsErr is not nil, a run that takes
	// the lock `records` gets this error.
	records    sync.Mutex
	recordsErr error
	// elsewhere has the guests of other nodes, and replicated has the guests that Proxmox
	// replicates to this node.
	elsewhere  map[int]string
	replicated map[int]bool
	// onWait is called when the run waits, and onSave is called when the run has saved its report.
	onWait func()
	onSave func(report.Run)
	// onAsked is called after the run has asked a guest whether it is frozen. slowWindow is the
	// time that a watchdog takes to start.
	onAsked    func()
	slowWindow time.Duration
	// taken has, by guest, the result of thawing a guest that an earlier run left frozen.
	taken map[pve.ID]quiesce.TakenOver
	// hookNotes is the directory of the notes about hooks, and onHook is called instead of starting
	// a hook's program.
	hookNotes note.Dir
	onHook    func(ctx context.Context, program, input string) (string, error)

	mu     sync.Mutex
	held   map[int]int // the number of shared locks that are held, by guest
	events []virtualEvent
	// quiet is true if the virtualWorld records no events.
	quiet bool
}

// virtualGuest is a guest of a virtualWorld, with its true state.
type virtualGuest struct {
	cfg   pve.Config
	alive bool
	// busy is true if a process other than the run holds the guest's lock. moving is true if a
	// process other than the run holds the lock of the guest's migration.
	busy, moving bool
	// rebooting is true if Proxmox will start the guest again.
	rebooting bool
	// unread is true if reading the guest's configuration hangs.
	unread bool
	// rolling is true if Proxmox's task list says that the guest is being rolled back.
	rolling bool
	// slowAgent is the time that the guest's agent takes to answer, and slowFreeze is the
	// additional time of a freeze. refuses is the reason why the guest cannot be frozen, "" if the
	// guest can be frozen. lapses is the reason to doubt that the guest remained frozen until its
	// thaw, "" for no doubt.
	slowAgent, slowFreeze time.Duration
	refuses, lapses       string
	// processErr is the error that a run gets when it asks whether the guest's process exists.
	processErr error
	// silent is the reason why the run cannot ask the guest whether it is frozen, "" if the run can
	// ask.
	silent string
}

// virtualEvent is an event in a virtualWorld, with the guests whose locks were held at the time of
// the event.
type virtualEvent struct {
	at   time.Duration
	held []int
	what string
}

// newVirtualWorld returns a simulated host without guests. If the test fails, the log of the test
// lists all events on this host.
func newVirtualWorld(t *testing.T) *virtualWorld {
	w := &virtualWorld{begin: time.Now(), guests: map[int]*virtualGuest{}, pools: map[string]*virtualPool{}, held: map[int]int{}, hookNotes: note.Dir(t.TempDir())}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, e := range w.events {
			t.Logf("%7.1fs %v %.200s", e.at.Seconds(), e.held, e.what)
		}
	})
	return w
}

// guest adds a virtual machine with a disk on each of the given pools. The last snapshot of each
// new disk is a quarter of an hour old.
func (w *virtualWorld) guest(vmid int, alive bool, pools ...string) *virtualGuest {
	g := &virtualGuest{alive: alive, cfg: pve.Config{ID: pve.ID{VMID: vmid, Kind: pve.QEMU}}}
	for i, name := range pools {
		v := pve.Volume{Key: fmt.Sprintf("scsi%d", i), Storage: name, Name: fmt.Sprintf("vm-%d-disk-%d", vmid, i)}
		g.cfg.Volumes = append(g.cfg.Volumes, v)
		w.pool(name).addDisk(name+"/data/"+v.Name, uint64(vmid*100+i))
	}
	w.guests[vmid] = g
	return g
}

// pool returns the pool with the given name, and creates the pool if it does not exist.
func (w *virtualWorld) pool(name string) *virtualPool {
	if w.pools[name] == nil {
		w.pools[name] = &virtualPool{w: w, name: name, snapshots: map[string][]zfs.Snapshot{}, bookmarks: map[string][]zfs.Snapshot{}, txg: 1000}
	}
	return w.pools[name]
}

// options returns the options of a run that keeps the newest four snapshots.
func (w *virtualWorld) options(change ...func(*Options)) Options {
	keep, err := config.ParseKeep([]string{"f4"})
	if err != nil {
		panic(err)
	}
	o := Options{Config: config.Default(), Keep: keep, World: w}
	for _, c := range change {
		c(&o)
	}
	return o
}

// run makes a run of snap on the simulated host; the run must not fail before it begins.
func (w *virtualWorld) run(t *testing.T, change ...func(*Options)) report.Run {
	t.Helper()
	_, r, err := Run(t.Context(), w.options(change...))
	require.NoError(t, err)
	return r
}

// freezeGuests configures the given guests to be frozen for their snapshots.
func freezeGuests(vmids string) func(*Options) {
	return func(o *Options) {
		var v config.VMIDs
		if err := v.UnmarshalText([]byte(vmids)); err != nil {
			panic(err)
		}
		o.Config.Quiesced.Quiesce = []config.Quiesce{{VMID: v, How: config.Agent}}
	}
}

func (w *virtualWorld) log(format string, args ...any) {
	if w.quiet {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, virtualEvent{time.Since(w.begin), slices.Sorted(maps.Keys(w.held)), fmt.Sprintf(format, args...)})
}

// eventsWith returns the recorded events whose text contains the given text, in order.
func (w *virtualWorld) eventsWith(text string) []virtualEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e virtualEvent) bool { return !strings.Contains(e.what, text) })
}

// onlyEvent returns the recorded event whose text contains the given text. The test fails if no
// event or more than one event contains the text.
func (w *virtualWorld) onlyEvent(t *testing.T, text string) virtualEvent {
	t.Helper()
	list := w.eventsWith(text)
	require.Len(t, list, 1, text)
	return list[0]
}

func (w *virtualWorld) Now() time.Time { return time.Now() }

func (w *virtualWorld) Wait(ctx context.Context, d time.Duration) error {
	if w.onWait != nil {
		w.onWait()
	}
	return w.Local.Wait(ctx, d)
}

func (w *virtualWorld) Installed() bool { return !w.plain }

func (w *virtualWorld) Cluster(context.Context) (pve.Cluster, error) {
	if w.plain {
		return pve.Cluster{}, pve.ErrNotPVE
	}
	if w.clusterErr != nil {
		return pve.Cluster{}, w.clusterErr
	}
	if ends := w.clusterEnds; !ends.IsZero() && !time.Now().Before(ends) {
		return pve.Cluster{}, errors.New("pmxcfs hangs")
	}
	c := pve.Cluster{ReplicatedHere: w.replicated, Elsewhere: w.elsewhere, Node: "pve1", Nodes: []string{"pve1", "pve2"}, Guests: map[int]pve.Config{}, HAStarted: map[int]bool{}}
	for _, name := range slices.Sorted(maps.Keys(w.pools)) {
		c.Storages = append(c.Storages, pve.Storage{Name: name, Dataset: name + "/data"})
	}
	for vmid, g := range w.guests {
		c.Guests[vmid] = g.cfg
	}
	return c, nil
}

func (w *virtualWorld) List(context.Context) (map[pve.ID]pve.Listed, error) {
	list := map[pve.ID]pve.Listed{}
	for _, g := range w.guests {
		status := "stopped"
		if g.alive {
			status = "running"
		}
		list[g.cfg.ID] = pve.Listed{ID: g.cfg.ID, Status: status}
	}
	return list, nil
}

func (w *virtualWorld) RunState(context.Context, int) (string, error) { return "running", nil }

func (w *virtualWorld) Process(id pve.ID) (bool, error) {
	g := w.guests[id.VMID]
	return g.alive && g.processErr == nil, g.processErr
}

func (w *virtualWorld) Rebooting(id pve.ID) bool { return w.guests[id.VMID].rebooting }

func (w *virtualWorld) GuestConfig(ctx context.Context, id pve.ID) (pve.Config, error) {
	g := w.guests[id.VMID]
	if g.unread {
		<-ctx.Done()
		return pve.Config{}, ctx.Err()
	}
	return g.cfg, nil
}

func (w *virtualWorld) Uptime() (time.Duration, error) { return 24 * time.Hour, nil }

func (w *virtualWorld) BootState(context.Context) (string, error) { return "active", nil }

func (w *virtualWorld) Shutdown(context.Context) snapper.Shutdown {
	if !w.shutdown {
		return snapper.Shutdown{System: "running", Guests: "active", HA: "active"}
	}
	return snapper.Shutdown{System: "stopping", Guests: "inactive", HA: "inactive"}
}

func (w *virtualWorld) RollingBack(id pve.ID) bool { return w.guests[id.VMID].rolling }

func (w *virtualWorld) LockMigration(id pve.ID) (func(), error) {
	if w.guests[id.VMID].moving {
		return nil, &lock.Busy{Path: "migration"}
	}
	w.log("%d: migration lock taken", id.VMID)
	return func() { w.log("%d: migration lock released", id.VMID) }, nil
}

func (w *virtualWorld) LockGuest(id pve.ID) (func(), error) {
	if w.guests[id.VMID].busy {
		return nil, &lock.Busy{Path: "lock"}
	}
	w.hold(id.VMID, 1)
	return func() {
		w.hold(id.VMID, -1)
		w.log("%d: lock released", id.VMID)
	}, nil
}

// locked returns the number of guests whose locks the run holds.
func (w *virtualWorld) locked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held)
}

func (w *virtualWorld) hold(vmid, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[vmid] += n; w.held[vmid] == 0 {
		delete(w.held, vmid)
	}
}

func (w *virtualWorld) Frozen(_ context.Context, id pve.ID) (bool, error) {
	g := w.guests[id.VMID]
	time.Sleep(g.slowAgent)
	if g.silent != "" {
		return false, errors.New(g.silent)
	}
	if w.onAsked != nil {
		w.onAsked()
	}
	return w.taken[id].Err != nil, nil
}

func (w *virtualWorld) FreezesAtOnce() int { return 2 }

func (w *virtualWorld) TakeOver(_ context.Context, tell func(pve.ID, quiesce.TakenOver)) error {
	for id, t := range w.taken {
		tell(id, t)
	}
	return nil
}

func (w *virtualWorld) OpenWindow(guests []pve.ID, budget time.Duration) (Window, error) {
	time.Sleep(w.slowWindow)
	return virtualWindow{w, guests, quiesce.Timeout(budget)}, nil
}

// virtualWindow plays a window, the time of one freeze. In the window, all guests that the run asks
// for are frozen, until the window's time is over.
type virtualWindow struct {
	w       *virtualWorld
	guests  []pve.ID
	timeout time.Duration
}

func (v virtualWindow) Freeze() map[pve.ID]string {
	v.w.log("freeze %v", v.guests)
	failed := map[pve.ID]string{}
	over, stop := context.WithTimeout(context.Background(), v.timeout)
	defer stop()
	lanes := v.w.Lanes(v.w.FreezesAtOnce())
	var mu sync.Mutex
	var freezing []func()
	for _, id := range v.guests {
		g := v.w.guests[id.VMID]
		freezing = append(freezing, lanes.Go(func() {
			why := g.refuses
			select {
			case <-over.Done():
				why = "no time is left"
			case <-time.After(g.slowAgent + g.slowFreeze):
			}
			mu.Lock()
			defer mu.Unlock()
			if why != "" {
				failed[id] = why
			}
		}))
	}
	waitAll(freezing)
	return failed
}

func (v virtualWindow) Thaw() quiesce.Ended {
	v.w.log("thaw %v", v.guests)
	ended := quiesce.Ended{Lapsed: map[pve.ID]string{}}
	for _, id := range v.guests {
		if why := v.w.guests[id.VMID].lapses; why != "" {
			ended.Lapsed[id] = why
		}
	}
	return ended
}

func (w *virtualWorld) LastReport(string) (report.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, nil
}

func (w *virtualWorld) SaveReport(_ string, r *report.Run) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = *r
	if w.onSave != nil {
		w.onSave(*r)
	}
	return nil
}

func (w *virtualWorld) LoadState() (report.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.stateErr
}

func (w *virtualWorld) SaveState(s report.State) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	return nil
}

func (w *virtualWorld) LockRecords(context.Context) (func(), error) {
	if w.recordsErr != nil {
		return nil, w.recordsErr
	}
	w.records.Lock()
	return w.records.Unlock, nil
}

func (w *virtualWorld) Hostname() (string, error) { return "pve1", nil }

func (w *virtualWorld) Pools() ([]string, error) { return slices.Sorted(maps.Keys(w.pools)), nil }

func (w *virtualWorld) Pool(name string) Pool { return w.pools[name] }

func (w *virtualWorld) Trusted(config.Hook) error { return nil }

func (w *virtualWorld) HookNotes() Notes { return localNotes{w.hookNotes} }

func (w *virtualWorld) Hook(ctx context.Context, h config.Hook, input string, _ []string, _ []Note) (string, error) {
	w.log("%s begins: %s", h.Argv[0], strings.TrimSpace(input))
	defer w.log("%s ends: %s", h.Argv[0], strings.TrimSpace(input))
	if w.onHook != nil {
		return w.onHook(ctx, h.Argv[0], input)
	}
	return "", nil
}
