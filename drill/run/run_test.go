package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/note"
	"snapwatch/internal/zfs"
)

const (
	disk0 = "tank/data/vm-100-disk-0"
	disk1 = "fast/vm-100-disk-1"
)

var (
	errKilled = errors.New("this process was killed")
	errBusy   = errors.New("dataset is busy")
)

// fakeWorld is a host with pools, on which a drill runs with virtual time.
type fakeWorld struct {
	mu        sync.Mutex
	begun     time.Time
	pools     map[string]map[string]zfs.Drilled // the datasets of drills, by pool and name
	records   drill.Records
	calls     []string
	snapshots map[string][]zfs.Snapshot
	space     drill.Pool
	spaceErr  error
	// receiveAt is the time after the begin of the test at which a receive begins, 0 for never.
	// unknownAt is the time from which zfs no longer answers.
	receiveAt, unknownAt time.Duration
	// looks is the time that a look takes, and onLook what happens meanwhile; wrong is what it finds, and
	// lookErr its failure.
	looks   time.Duration
	onLook  func()
	wrong   []string
	lookErr error
	// noFileSystem is 1 if the look finds no file system.
	noFileSystem int
	// reads is the time that the reading of a clone takes; found is what it finds, by the clone's
	// dataset, and inspectErr its failure.
	reads      time.Duration
	found      map[string]drill.Inspection
	inspectErr error
	// boots is the time that the start of the guest takes; started is its result, bootErr its failure.
	boots   time.Duration
	started drill.Started
	bootErr error
	// late is true if a look that is ended early takes its own end for a fault.
	late bool
	// busyFor is the time after the look for which a clone is busy.
	busyFor   time.Duration
	lookEnded time.Time
	// hangs is the first word of the changes that never end; fails that of those that fail.
	hangs, fails string
	// failure is what a change that fails says, "out of space" if it is nil.
	failure error
	// changeTakes is the time that a change takes.
	changeTakes time.Duration
	// killAt is the number of the call at which the process is killed, 0 for never. Each later call
	// fails and changes nothing.
	killAt int
	locks  int  // the number of calls with a lock
	dead   bool // true if the process of the drill was killed
}

func newFakeWorld() *fakeWorld {
	return &fakeWorld{begun: time.Now(), pools: map[string]map[string]zfs.Drilled{"tank": {}, "fast": {}}, space: drill.Pool{Size: 100, Allocated: 10}}
}

func (w *fakeWorld) call(lock *os.File, format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
	if lock != nil {
		w.locks++
	}
	if w.killAt > 0 && len(w.calls) >= w.killAt {
		return errKilled
	}
	return nil
}

func (w *fakeWorld) Now() time.Time { return time.Now() }

func (w *fakeWorld) Alive(int) bool { return !w.dead }

func (w *fakeWorld) Pools() ([]string, error) { return slices.Collect(maps.Keys(w.pools)), nil }

func (w *fakeWorld) Space(_ context.Context, pool string) (drill.Pool, error) {
	return w.space, errors.Join(w.spaceErr, w.call(nil, "space %s", pool))
}

func (w *fakeWorld) Drilled(_ context.Context, lock *os.File, pool string) ([]zfs.Drilled, error) {
	if err := w.call(lock, "drilled %s", pool); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pools[pool] == nil {
		return nil, fmt.Errorf("pool %s is %w", pool, zfs.ErrNotImported)
	}
	var all []zfs.Drilled
	for _, d := range w.pools[pool] {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b zfs.Drilled) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (w *fakeWorld) Snapshots(context.Context, []string) (map[string][]zfs.Snapshot, error) {
	return w.snapshots, w.call(nil, "snapshots")
}

func (w *fakeWorld) Receiving(ctx context.Context, _ *os.File, datasets []string) ([]string, error) {
	at := time.Since(w.begun)
	switch {
	case w.unknownAt > 0 && at >= w.unknownAt:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case w.receiveAt > 0 && at >= w.receiveAt:
		return datasets[:1], nil
	}
	return nil, nil
}

func (w *fakeWorld) Change(ctx context.Context, lock *os.File, argv []string) error {
	if err := w.call(lock, "%s", strings.Join(argv, " ")); err != nil {
		return err
	}
	slow := wait(ctx, w.changeTakes)
	name := argv[len(argv)-1]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case argv[1] == w.hangs:
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return fmt.Errorf("%w: %w", command.ErrStillRunning, context.Cause(ctx))
	case argv[1] == w.fails:
		return cmp.Or(w.failure, errors.New("out of space"))
	case argv[1] == "create":
		w.pools[zfs.Pool(name)][name] = zfs.Drilled{Name: name}
	case argv[1] == "clone":
		mark := argv[len(argv)-3]
		w.pools[zfs.Pool(name)][name] = zfs.Drilled{Name: name, Origin: argv[len(argv)-2], Mark: strings.TrimPrefix(mark, zfs.DrillMark+"=")}
	case argv[1] == "destroy" && !w.lookEnded.IsZero() && time.Since(w.lookEnded) < w.busyFor:
		return errBusy
	case argv[1] == "destroy" && w.pools[zfs.Pool(name)][name+"@hourly"].Name != "":
		return errors.New("volume has children")
	case argv[1] == "destroy":
		delete(w.pools[zfs.Pool(name)], name)
	}
	if slow != nil {
		return fmt.Errorf("%w: %w", command.ErrStillRunning, slow)
	}
	return nil
}

func (w *fakeWorld) CanLook() error { return nil }

func (w *fakeWorld) AwaitDevice(_ context.Context, c drill.Clone) (string, error) {
	return "/dev/zd/" + c.Dataset, w.call(nil, "await %s", c.Device)
}

func (w *fakeWorld) Look(ctx context.Context, lock *os.File, devices []string) (drill.Sight, error) {
	if err := w.call(lock, "look %s", strings.Join(devices, " ")); err != nil {
		return drill.Sight{}, err
	}
	if w.onLook != nil {
		w.onLook()
	}
	err := wait(ctx, w.looks)
	w.lookEnded = time.Now()
	if err != nil && w.late {
		return drill.Sight{Wrong: []string{"mounting /dev/sda1 (ext4): killed"}}, nil
	}
	if err != nil {
		return drill.Sight{}, err
	}
	return drill.Sight{FileSystems: 1 - w.noFileSystem, Unknown: w.noFileSystem, Wrong: w.wrong, Remarks: []string{"Debian GNU/Linux 12"}}, w.lookErr
}

func (w *fakeWorld) Inspect(ctx context.Context, lock *os.File, c drill.Clone, part *checker.Part) (drill.Inspection, error) {
	if err := w.call(lock, "inspect %s %v", c.Dataset, part); err != nil {
		return drill.Inspection{}, err
	}
	if err := wait(ctx, w.reads); err != nil {
		return drill.Inspection{Wrong: "reading at byte 0: killed"}, nil
	}
	found := w.found[c.Dataset]
	if part != nil {
		found.Bytes = 1000
	}
	return found, w.inspectErr
}

func (w *fakeWorld) Boot(ctx context.Context, lock *os.File, p drill.Plan) (drill.Started, error) {
	if err := w.call(lock, "boot %s", strings.Join(p.Boot.Argv, " ")); err != nil {
		return drill.Started{}, err
	}
	return w.started, errors.Join(w.bootErr, wait(ctx, w.boots))
}

func (w *fakeWorld) Records() (drill.Records, error) { return w.records, nil }

func (w *fakeWorld) Record(_ context.Context, g drill.Guest, p checker.Drill) error {
	if err := w.call(nil, "record"); err != nil {
		return err
	}
	w.records = w.records.With(g, p)
	return nil
}

// snapshotOf adds a snapshot of a clone, as a program that makes snapshots of whole pools does.
func (w *fakeWorld) snapshotOf(clone string) {
	w.pools[zfs.Pool(clone)][clone+"@hourly"] = zfs.Drilled{Name: clone + "@hourly", CreateTXG: 1}
}

// clones returns the names of all clones on the host.
func (w *fakeWorld) clones() []string {
	var all []string
	for _, pool := range w.pools {
		for name, d := range pool {
			if d.Origin != "" {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (w *fakeWorld) number(prefix string) int {
	n := 0
	for _, c := range w.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func guest() drill.Guest {
	at := func(dataset string) zfs.Snapshot {
		made := time.Now().Add(-time.Minute)
		return zfs.Snapshot{Dataset: dataset, Name: zfs.FormatSnapshotName(made, zfs.Hourly), Creation: made}
	}
	return drill.Guest{VMID: 100, Name: "100", Point: "2026-07-15_12:00:00", Disks: []drill.Disk{{Dataset: disk0, At: at(disk0)}, {Dataset: disk1, At: at(disk1)}}}
}

// drilling runs a drill in virtual time, and returns its result and the names of the notes that
// remain.
func drilling(t *testing.T, change func(*fakeWorld, *drill.Guest), check func(w *fakeWorld, o Options, proof *checker.Drill, err error, notes []string)) {
	t.Helper()
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w, g := newFakeWorld(), guest()
		change(w, &g)
		o := Options{World: w, Notes: dir}
		proof, err := Drill(t.Context(), o, drill.NewPlan(g, time.Now()))
		notes, notesErr := dir.Names()
		require.NoError(t, notesErr)
		check(w, o, proof, err, notes)
	})
}

func TestDrill(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) { w.looks, w.busyFor = 90*time.Second, 5*time.Second },
		func(w *fakeWorld, _ Options, proof *checker.Drill, err error, notes []string) {
			require.NoError(t, err)
			assert.Equal(t, drill.Checked, proof.Reach)
			assert.False(t, proof.Failed())
			assert.InDelta(t, 90, proof.Seconds, 1)
			assert.Equal(t, []string{"Debian GNU/Linux 12"}, proof.Remarks)
			assert.Empty(t, w.clones())
			assert.Empty(t, notes)
			record, found := w.records.Of(guest())
			require.True(t, found)
			assert.Equal(t, *proof, record.Last)
			assert.Equal(t, 4, w.number("zfs create"))
			assert.Equal(t, 2, w.number("zfs clone"))
			assert.Equal(t, 1, w.number("look /dev/zd/tank/snapwatch-drill/g100/d-0 /dev/zd/fast/snapwatch-drill/g100/d-1"))
			for _, c := range w.calls {
				assert.NotRegexp(t, `^zfs destroy .*(-[rRf]|@| tank/data)`, c)
			}
		})
}

// Others may read the results of drills: the notes alone are private.
func TestDrillMakesTheStateDirectory(t *testing.T) {
	state := t.TempDir() + "/state"
	synctest.Test(t, func(t *testing.T) {
		_, err := Drill(t.Context(), Options{World: newFakeWorld(), Notes: note.Dir(state + "/drills")}, drill.NewPlan(guest(), time.Now()))
		require.NoError(t, err)
	})
	for path, mode := range map[string]os.FileMode{state: 0o755, state + "/drills": 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestDrillFindsAFault(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) { w.wrong = []string{"checking /dev/sda1 (ext4): faults"} },
		func(w *fakeWorld, _ Options, proof *checker.Drill, err error, notes []string) {
			require.NoError(t, err)
			assert.Equal(t, drill.Cloned, proof.Reach)
			assert.True(t, proof.Failed())
			assert.Empty(t, w.clones())
			record, _ := w.records.Of(guest())
			assert.True(t, record.Last.Failed())
			assert.Nil(t, record.Good)
		})
}

// A drill that did not come to its end proves nothing: there is no record, and no clone is left.
func TestDrillThatEndsEarly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeWorld, *drill.Guest)
		why    string
	}{
		"a receive begins":                {func(w *fakeWorld, _ *drill.Guest) { w.looks, w.receiveAt = 10*time.Minute, 3*time.Minute }, "a receive into " + disk0 + " has begun"},
		"zfs no longer answers":           {func(w *fakeWorld, _ *drill.Guest) { w.looks, w.unknownAt = 10*time.Minute, 3*time.Minute }, "it is unknown whether a receive has begun"},
		"a receive begins during a clone": {func(w *fakeWorld, _ *drill.Guest) { w.changeTakes, w.receiveAt = 5*time.Second, 23*time.Second }, "a receive into"},
		"the end looks like a fault":      {func(w *fakeWorld, _ *drill.Guest) { w.looks, w.late, w.receiveAt = 10*time.Minute, true, 3*time.Minute }, "a receive into"},
		"it takes too long":               {func(w *fakeWorld, _ *drill.Guest) { w.looks = 24 * time.Hour }, "it did not end within 1h0m0s"},
		"the look fails":                  {func(w *fakeWorld, _ *drill.Guest) { w.lookErr = errors.New("the appliance did not start") }, "the appliance did not start"},
	} {
		t.Run(name, func(t *testing.T) {
			drilling(t, c.change, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, notes []string) {
				assert.Nil(t, proof)
				require.ErrorContains(t, err, c.why)
				assert.Empty(t, w.clones())
				assert.Empty(t, notes)
				assert.Empty(t, w.records)
				assert.Less(t, time.Since(w.begun), time.Hour+tidyTime)
			})
		})
	}
}

// After a signal the look ends at once, and the clones are destroyed all the same.
func TestDrillAfterASignal(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld()
		w.looks = time.Hour
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errors.New("interrupted by a signal")) })
		proof, err := Drill(ctx, Options{World: w, Notes: dir}, drill.NewPlan(guest(), time.Now()))
		require.ErrorContains(t, err, "interrupted by a signal")
		assert.Nil(t, proof)
		assert.Empty(t, w.clones())
		assert.Equal(t, time.Minute, time.Since(w.begun))
	})
}

// A copy whose snapshot cannot be read cannot be used. All other reasons why it cannot be cloned may be
// the host's: a quota, a dataset of the clone's name.
func TestDrillCannotClone(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) { w.fails = "clone" }, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, notes []string) {
		assert.ErrorContains(t, err, "out of space")
		assert.Nil(t, proof)
		assert.Zero(t, w.number("look"))
		assert.Zero(t, w.number("record"))
		assert.Empty(t, notes)
	})
	unreadable := func(w *fakeWorld, g *drill.Guest) {
		w.fails = "clone"
		w.failure = &command.Error{Argv: []string{"zfs", "clone"}, Stderr: "cannot open '" + g.Disks[0].At.FullName() + "': I/O error\n", Err: errors.New("exit status 1")}
	}
	drilling(t, unreadable, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.NoError(t, err)
		assert.Equal(t, drill.Nothing, proof.Reach)
		require.Len(t, proof.Faults, 1)
		assert.Equal(t, checker.FaultFiles, proof.Faults[0].Kind)
		assert.Contains(t, proof.Faults[0].Wrong, "cannot be cloned: ")
		assert.Zero(t, w.number("look"))
	})
	drilling(t, func(w *fakeWorld, g *drill.Guest) {
		unreadable(w, g)
		w.spaceErr = errors.New("pool tank is suspended")
	}, func(_ *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		assert.ErrorContains(t, err, "suspended")
		assert.Nil(t, proof)
	})
}

// A block that could not be read is on record, however the drill ends after that.
func TestDrillKeepsAFoundFault(t *testing.T) {
	for name, change := range map[string]func(w *fakeWorld){
		"the look fails":    func(w *fakeWorld) { w.lookErr = errors.New("/dev/sda: Input/output error") },
		"a receive begins":  func(w *fakeWorld) { w.looks, w.receiveAt = 10*time.Minute, time.Minute },
		"it takes too long": func(w *fakeWorld) { w.looks = 24 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			dir := note.Dir(t.TempDir() + "/drills")
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld()
				w.found = map[string]drill.Inspection{"fast/snapwatch-drill/g100/d-1": {Wrong: "reading at byte 4096: input/output error"}}
				change(w)
				p := drill.NewPlan(guest(), time.Now())
				p.Part = &checker.Part{From: 0, To: 1}
				_, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
				assert.Error(t, err)
				record, _ := w.records.Of(guest())
				require.Len(t, record.Open, 1)
				assert.Contains(t, record.Open[0].Wrong[0], "byte 4096")
				assert.Equal(t, []any{checker.FaultRead, p.Part}, []any{record.Open[0].Kind, record.Open[0].Part})
				assert.Empty(t, w.clones())
			})
		})
	}
}

// The dataset of a container is mounted, and a volume next to it is looked at.
func TestDrillOfContainersAndWithoutKeys(t *testing.T) {
	const container = "fast/snapwatch-drill/g100/d-1"
	drilling(t, func(w *fakeWorld, g *drill.Guest) {
		g.Disks[1].Filesystem = true
		w.found = map[string]drill.Inspection{container: {IsSystem: true, System: "Alpine\x1b[2J Linux"}}
	}, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.NoError(t, err)
		assert.Equal(t, drill.Checked, proof.Reach)
		assert.Equal(t, 1, w.number("look /dev/zd/tank/snapwatch-drill/g100/d-0"))
		assert.Equal(t, 1, w.number("inspect"), "nothing is read of the volume")
		assert.Equal(t, []string{"Alpine [2J Linux", "Debian GNU/Linux 12"}, proof.Remarks)
		assert.Equal(t, 2, proof.FileSystems, "of the container's dataset, and of the volume")
	})
	drilling(t, func(w *fakeWorld, g *drill.Guest) {
		g.Disks[1].Filesystem = true
		w.found = map[string]drill.Inspection{container: {Unmounted: true, Wrong: "mounting it: input/output error"}}
		w.lookErr = errors.New("the appliance did not start")
	}, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.ErrorContains(t, err, "the appliance did not start")
		assert.Equal(t, []checker.FaultKind{checker.FaultFiles}, []checker.FaultKind{proof.Faults[0].Kind}, "a drill without --read mounts it, too")
		assert.Equal(t, 1, w.records[0].Open[0].FileSystems)
	})
	drilling(t, func(_ *fakeWorld, g *drill.Guest) { g.Disks = g.Disks[1:]; g.Disks[0].Filesystem = true }, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.NoError(t, err)
		assert.Equal(t, []checker.Fault{{Kind: checker.FaultFiles, Wrong: "no dataset of the container has the root directory of a system"}}, proof.Faults)
		assert.Equal(t, 1, w.records[0].Open[0].FileSystems)
		assert.Zero(t, w.number("look"))
	})
	drilling(t, func(w *fakeWorld, g *drill.Guest) {
		g.Disks[1].Filesystem = true
		w.inspectErr = errors.New("mount: device busy")
	}, func(_ *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.ErrorContains(t, err, "mount: device busy")
		assert.Nil(t, proof)
	})
	drilling(t, func(_ *fakeWorld, g *drill.Guest) { g.Disks[1].EncryptionRoot = "fast/keys" }, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.NoError(t, err)
		assert.Equal(t, drill.Nothing, proof.Reach)
		assert.False(t, proof.Failed())
		assert.Equal(t, []string{"encrypted, not looked at: the key of fast/keys is not loaded"}, proof.Remarks)
		assert.Equal(t, []string{"record"}, w.calls)
	})
}

// What a drill did not come to is not on record as looked at, so that it ends no older fault.
func TestDrillRecordsOnlyWhatItLookedAt(t *testing.T) {
	const first, second = "tank/snapwatch-drill/g100/d-0", "fast/snapwatch-drill/g100/d-1"
	for name, c := range map[string]struct {
		change func(w *fakeWorld)
		kinds  []checker.FaultKind
		part   bool
		found  int
	}{
		"a mount that fails, and then a receive": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{first: {Unmounted: true, Wrong: "mounting it: input/output error"}}
			w.reads, w.receiveAt = time.Minute, 90*time.Second
		}, []checker.FaultKind{checker.FaultFiles}, false, 1},
		"a file, and then a receive": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{first: {IsSystem: true, Wrong: "reading at byte 0 of /a: input/output error"}}
			w.reads, w.receiveAt = time.Minute, 90*time.Second
		}, []checker.FaultKind{checker.FaultRead}, true, 0},
		"a mount that fails": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{first: {Unmounted: true, Wrong: "mounting it: input/output error"}, second: {IsSystem: true}}
		}, []checker.FaultKind{checker.FaultFiles}, false, 2},
		"a file, and no system": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{second: {Wrong: "reading at byte 0 of /a: input/output error"}}
		}, []checker.FaultKind{checker.FaultRead, checker.FaultFiles}, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := note.Dir(t.TempDir() + "/drills")
			synctest.Test(t, func(t *testing.T) {
				w, g := newFakeWorld(), guest()
				g.Disks[0].Filesystem, g.Disks[1].Filesystem = true, true
				c.change(w)
				p := drill.NewPlan(g, time.Now())
				p.Part = &checker.Part{To: 0.5}
				proof, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
				assert.Equal(t, w.receiveAt > 0, err != nil)
				var kinds []checker.FaultKind
				for _, f := range proof.Faults {
					kinds = append(kinds, f.Kind)
				}
				assert.Equal(t, []any{c.kinds, c.part, c.found}, []any{kinds, proof.Part != nil, proof.FileSystems})
			})
		})
	}
}

// Without a file system that could be checked, the copy is not called checked.
func TestDrillWithoutAFileSystem(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) { w.noFileSystem = 1 }, func(_ *fakeWorld, _ Options, proof *checker.Drill, err error, _ []string) {
		require.NoError(t, err)
		assert.Equal(t, drill.Cloned, proof.Reach)
		assert.False(t, proof.Failed())
	})
}

// A file system that the last good drill looked at must be recognised.
func TestDrillLosesAFileSystem(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld()
		w.noFileSystem = 1
		p := drill.NewPlan(guest(), time.Now())
		p.Before = &checker.Drill{Point: "2026-07-15_12:00:00", FileSystems: 1}
		d, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
		require.NoError(t, err)
		assert.Equal(t, []checker.Fault{{Kind: checker.FaultFiles, Wrong: "not recognised: 1 of 1 file systems that the drill of 2026-07-15 12:00:00 found"}}, d.Faults)
		assert.Equal(t, 1, d.Unknown)
	})
}

// A part of each clone is read before the look, and a fault names the disk. A fault on a pool that
// does not work proves nothing.
func TestDrillReadsAPart(t *testing.T) {
	const second = "fast/snapwatch-drill/g100/d-1"
	for name, c := range map[string]struct {
		change func(w *fakeWorld)
		check  func(w *fakeWorld, proof *checker.Drill, err error)
	}{
		"no fault": {func(*fakeWorld) {}, func(w *fakeWorld, proof *checker.Drill, err error) {
			require.NoError(t, err)
			assert.Equal(t, []any{drill.Checked, uint64(2000), checker.Part{From: 0.5, To: 0.75}}, []any{proof.Reach, proof.ReadBytes, *proof.Part})
			assert.InDelta(t, 0.75, w.records[0].ReadTo, 1e-9)
		}},
		"no file system": {func(w *fakeWorld) { w.noFileSystem = 1 }, func(_ *fakeWorld, proof *checker.Drill, err error) {
			require.NoError(t, err)
			assert.Equal(t, drill.Read, proof.Reach)
		}},
		"a fault": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{second: {Wrong: "reading at byte 4096: input/output error"}}
		}, func(w *fakeWorld, proof *checker.Drill, err error) {
			require.NoError(t, err)
			require.Len(t, proof.Faults, 1)
			assert.Equal(t, checker.FaultRead, proof.Faults[0].Kind)
			assert.Regexp(t, "^"+disk1+"@autosnap_.*: reading at byte 4096: input/output error$", proof.Faults[0].Wrong)
			assert.Equal(t, drill.Cloned, proof.Reach)
			assert.Equal(t, 1, w.number("look"), "the file systems are looked at all the same")
			assert.Zero(t, w.records[0].ReadTo)
		}},
		"a suspended pool": {func(w *fakeWorld) {
			w.found = map[string]drill.Inspection{second: {Wrong: "reading at byte 4096: input/output error"}}
			w.spaceErr = errors.New("pool fast is suspended")
		}, func(w *fakeWorld, proof *checker.Drill, err error) {
			require.ErrorContains(t, err, "pool fast is suspended")
			assert.Nil(t, proof)
			assert.Empty(t, w.records)
		}},
		"a receive begins": {func(w *fakeWorld) { w.reads, w.receiveAt = time.Minute, 30*time.Second }, func(w *fakeWorld, proof *checker.Drill, err error) {
			require.ErrorContains(t, err, "a receive into")
			assert.Nil(t, proof)
			assert.Zero(t, w.number("look"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := note.Dir(t.TempDir() + "/drills")
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld()
				c.change(w)
				p := drill.NewPlan(guest(), time.Now())
				p.Part = &checker.Part{From: 0.5, To: 0.75}
				proof, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
				assert.Empty(t, w.clones())
				c.check(w, proof, err)
			})
		})
	}
}

// After a look without a fault the guest is started. A guest that does not start is a fault; a
// program that cannot try it is none.
func TestDrillStartsTheGuest(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *fakeWorld)
		reach  checker.Reach
		faults []checker.Fault
		remark string
		err    string
	}{
		"it starts":      {func(w *fakeWorld) { w.started = drill.Started{Tried: true, Booted: true, Said: "its agent answers"} }, drill.Booted, nil, "its agent answers", ""},
		"it does not":    {func(w *fakeWorld) { w.started = drill.Started{Tried: true, Said: "no answer"} }, drill.Checked, []checker.Fault{{Kind: checker.FaultStart, Wrong: "it did not start: no answer"}}, "", ""},
		"it has a fault": {func(w *fakeWorld) { w.wrong = []string{"a fault"} }, drill.Cloned, []checker.Fault{{Kind: checker.FaultFiles, Wrong: "a fault"}}, "", ""},
		"no program":     {func(w *fakeWorld) { w.started = drill.Started{Said: "no QEMU"} }, drill.Checked, nil, "not started: no QEMU", ""},
		"the rest hangs": {func(w *fakeWorld) { w.bootErr = command.ErrStillRunning }, "", nil, "", "still running"},
		"a receive":      {func(w *fakeWorld) { w.boots, w.receiveAt = time.Minute, 30*time.Second }, "", nil, "", "a receive into"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := note.Dir(t.TempDir() + "/drills")
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld()
				c.change(w)
				p := drill.NewPlan(guest(), time.Now())
				p.Boot = &drill.Boot{Argv: []string{"/usr/sbin/start"}, Limit: 5 * time.Minute}
				proof, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
				assert.Equal(t, len(w.wrong) == 0, w.number("boot /usr/sbin/start") == 1)
				if c.err != "" {
					require.ErrorContains(t, err, c.err)
					assert.Nil(t, proof)
					return
				}
				require.NoError(t, err)
				assert.Empty(t, w.clones())
				assert.Equal(t, []any{c.reach, c.faults}, []any{proof.Reach, proof.Faults})
				if c.remark != "" {
					assert.Contains(t, proof.Remarks, c.remark)
				}
			})
		})
	}
}

// A command that hangs is left behind, with its lock: the note stays, no other drill of the guest
// begins, and other guests' drills work.
func TestDrillWithAHungCommand(t *testing.T) {
	for _, hangs := range []string{"create", "clone", "destroy"} {
		t.Run(hangs, func(t *testing.T) {
			drilling(t, func(w *fakeWorld, _ *drill.Guest) { w.hangs = hangs }, func(w *fakeWorld, o Options, proof *checker.Drill, err error, notes []string) {
				require.ErrorIs(t, err, command.ErrStillRunning)
				assert.Equal(t, hangs == "destroy", proof != nil)
				assert.Less(t, time.Since(w.begun), 10*time.Minute)
				assert.Equal(t, []string{"100"}, notes)
				assert.Contains(t, err.Error(), "clones of a drill of guest 100 may be left")
				w.hangs = ""
				calls := len(w.calls)
				require.NoError(t, RemoveLeft(context.Background(), o, nil))
				assert.Len(t, w.calls, calls, "the drill of guest 100 is still at work")
				_, err = Drill(context.Background(), o, drill.NewPlan(guest(), time.Now()))
				require.ErrorContains(t, err, "another drill of guest 100 is at work, or a program of it hangs")
				other := guest()
				other.VMID = 101
				proof, err = Drill(context.Background(), o, drill.NewPlan(other, time.Now()))
				require.NoError(t, err)
				assert.Equal(t, drill.Checked, proof.Reach)
			})
		})
	}
}

// A boot program that still runs after it was killed keeps the note and the clones, whatever the
// reason was to kill it.
func TestDrillWhoseBootHangs(t *testing.T) {
	for name, change := range map[string]func(*fakeWorld){
		"by its limit":    func(*fakeWorld) {},
		"by a receive":    func(w *fakeWorld) { w.boots, w.receiveAt = time.Minute, 10*time.Second },
		"after max_drill": func(w *fakeWorld) { w.boots = 2 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			dir := note.Dir(t.TempDir() + "/drills")
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld()
				w.bootErr = command.ErrStillRunning
				change(w)
				p := drill.NewPlan(guest(), time.Now())
				p.Boot = &drill.Boot{Argv: []string{"boot"}, Limit: 10 * time.Minute}
				proof, err := Drill(t.Context(), Options{World: w, Notes: dir}, p)
				assert.Nil(t, proof)
				require.ErrorIs(t, err, command.ErrStillRunning)
				assert.Zero(t, w.number("zfs destroy"))
				_, err = dir.Take("100")
				_, busy := errors.AsType[*note.Busy](err)
				assert.True(t, busy, "%v", err)
			})
		})
	}
}

// A clone with a snapshot cannot be destroyed, so the snapshots that other programs make of a clone go
// first. A snapshot of the datasets above is no hindrance, and not the drill's.
func TestDrillWhoseCloneGetsASnapshot(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) {
		w.onLook = func() {
			w.snapshotOf("tank/snapwatch-drill/g100/d-0")
			w.snapshotOf("tank/snapwatch-drill/g100")
		}
	}, func(w *fakeWorld, _ Options, proof *checker.Drill, err error, notes []string) {
		require.NoError(t, err)
		assert.NotNil(t, proof)
		assert.Empty(t, w.clones())
		assert.Empty(t, notes)
		assert.Contains(t, w.pools["tank"], "tank/snapwatch-drill/g100@hourly")
		assert.Equal(t, 3, w.number("zfs destroy"))
	})
}

// A program that hangs while it looks keeps the clone busy, and not the note: ZFS refuses to destroy
// the clone, each later run tries it again and says so, and no other drill of the guest begins.
func TestDrillWhoseLookHangs(t *testing.T) {
	drilling(t, func(w *fakeWorld, _ *drill.Guest) {
		w.looks, w.receiveAt, w.busyFor = 24*time.Hour, time.Minute, 48*time.Hour
	}, func(w *fakeWorld, o Options, proof *checker.Drill, err error, notes []string) {
		require.ErrorContains(t, err, "clones of a drill of guest 100 may be left")
		assert.Nil(t, proof)
		assert.Equal(t, []string{"100"}, notes)
		w.receiveAt = 0
		begun := time.Now()
		require.ErrorContains(t, RemoveLeft(context.Background(), o, nil), errBusy.Error())
		assert.Less(t, time.Since(begun), orphanTime+watchEvery)
		_, err = Drill(context.Background(), o, drill.NewPlan(guest(), time.Now()))
		require.ErrorContains(t, err, errBusy.Error())
		assert.Len(t, w.clones(), 2)
		assert.Equal(t, 1, w.number("look"))
		time.Sleep(w.busyFor)
		require.NoError(t, RemoveLeft(context.Background(), o, nil))
		assert.Empty(t, w.clones())
	})
}

// Whenever a drill is killed, the next run of any command removes its clones, and nothing else.
func TestRemoveLeftOfAKilledDrill(t *testing.T) {
	killed := 0
	for at := 1; ; at++ {
		ended := false
		drilling(t, func(w *fakeWorld, _ *drill.Guest) {
			w.killAt = at
			w.pools["tank"]["tank/snapwatch-drill/mine"] = zfs.Drilled{Name: "tank/snapwatch-drill/mine", Origin: disk0 + "@s"}
		}, func(w *fakeWorld, o Options, _ *checker.Drill, err error, _ []string) {
			ended = err == nil
			if len(w.clones()) > 1 {
				killed++
			}
			w.killAt = 0
			require.NoError(t, RemoveLeft(context.Background(), o, nil), "killed at call %d", at)
			assert.Equal(t, []string{"tank/snapwatch-drill/mine"}, w.clones(), "killed at call %d", at)
			names, err := o.Notes.Names()
			require.NoError(t, err)
			assert.Empty(t, names)
			calls := len(w.calls)
			require.NoError(t, RemoveLeft(context.Background(), o, nil))
			assert.Len(t, w.calls, calls, "without a note no program is started")
		})
		if ended {
			break
		}
	}
	assert.GreaterOrEqual(t, killed, 5, "the drill was killed while clones existed")
}

// The last command of a killed drill keeps the note until the command ends, and the programs that
// looked at a clone keep it busy. The next run waits for both, but not for a drill at work.
func TestRemoveLeftWaitsForWhatAKilledDrillStarted(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld()
		left := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-0", Origin: disk0 + "@s", Mark: "g100 2026-07-15T12:07:00Z"}
		w.pools["tank"][left.Name] = left
		o := Options{World: w, Notes: dir}
		orphan, err := dir.Take("100")
		require.NoError(t, err)
		require.NoError(t, orphan.Write(noted{[]string{"tank"}, 4242}))
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Len(t, w.clones(), 1)
		assert.Zero(t, time.Since(w.begun), "the drill is at work")

		w.dead = true
		time.AfterFunc(3*time.Second, orphan.Leave)
		w.busyFor, w.lookEnded = 5*time.Second, time.Now()
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Empty(t, w.clones())
		assert.Less(t, time.Since(w.begun), 10*time.Second)

		hung, err := dir.Take("100")
		require.NoError(t, err)
		require.NoError(t, hung.Write(noted{[]string{"tank"}, 4242}))
		begun := time.Now()
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.InDelta(t, orphanTime.Seconds(), time.Since(begun).Seconds(), 1, "a hung command stops no other run")
		hung.Leave()
	})
}

// A clone whose destroy hangs costs a run no more than the time that the run gives. The command keeps
// the note until it ends.
func TestRemoveLeftOfACloneThatHangs(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		left := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-0", Origin: disk0 + "@s", Mark: "g100 2026-07-15T12:07:00Z"}
		other := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-1", Origin: disk1 + "@s", Mark: left.Mark}
		w := newFakeWorld()
		w.pools["tank"][left.Name], w.pools["tank"][other.Name] = left, other
		w.hangs = "destroy"
		o := Options{World: w, Notes: dir}
		n, err := dir.Take("100")
		require.NoError(t, err)
		require.NoError(t, n.Write(noted{[]string{"tank"}, 4242}))
		n.Leave()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		require.ErrorIs(t, RemoveLeft(ctx, o, nil), command.ErrStillRunning)
		assert.Equal(t, 20*time.Second, time.Since(w.begun))
		assert.Equal(t, 1, w.number("zfs destroy"))
		_, err = dir.Take("100")
		assert.Error(t, err)
	})
}

// stuckWorld cannot destroy the clones of some guests.
type stuckWorld struct {
	*fakeWorld
	stuck []string
}

func (w stuckWorld) Change(ctx context.Context, lock *os.File, argv []string) error {
	name := argv[len(argv)-1]
	if slices.ContainsFunc(w.stuck, func(guest string) bool { return strings.Contains(name, guest) }) {
		time.Sleep(100 * time.Millisecond)
		return errBusy
	}
	return w.fakeWorld.Change(ctx, lock, argv)
}

// Clones that stay busy, and a command that hangs, do not use up the time for the clones of later guests.
func TestRemoveLeftTriesEachGuestBeforeItWaits(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w := stuckWorld{newFakeWorld(), []string{"/g100/", "/g101/", "/g102/"}}
		w.dead = true
		for _, vmid := range []int{99, 100, 101, 102, 200} {
			name := fmt.Sprintf("tank/snapwatch-drill/g%d/d-0", vmid)
			w.pools["tank"][name] = zfs.Drilled{Name: name, Origin: disk0 + "@s", Mark: fmt.Sprintf("g%d 2026-07-15T12:07:00Z", vmid)}
			n, err := dir.Take(strconv.Itoa(vmid))
			require.NoError(t, err)
			require.NoError(t, n.Write(noted{[]string{"tank"}, 4242}))
			if vmid != 99 {
				n.Leave()
			} else {
				defer n.Leave()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorContains(t, RemoveLeft(ctx, Options{World: w, Notes: dir}, nil), "of guest 101 may be left")
		assert.NotContains(t, w.clones(), "tank/snapwatch-drill/g200/d-0")
		assert.Len(t, w.clones(), 4)
	})
}

// Clones without a note are found by their mark, as after the loss of the state directory. Clones in
// a pool that is not imported wait for it, without a word.
func TestRemoveLeftWithoutANoteAndWithoutAPool(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		left := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-0", Origin: disk0 + "@s", Mark: "g100 2026-07-15T12:07:00Z"}
		w := newFakeWorld()
		w.pools["tank"][left.Name] = left
		o := Options{World: w, Notes: dir}
		atWork := zfs.Drilled{Name: "tank/snapwatch-drill/g101/d-0", Origin: disk0 + "@s", Mark: "g101 2026-07-15T12:07:00Z"}
		w.pools["tank"][atWork.Name] = atWork
		working, err := o.Notes.Take("101")
		require.NoError(t, err)
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Len(t, w.clones(), 2)
		require.NoError(t, RemoveLeft(t.Context(), o, []string{"fast", "tank"}))
		assert.Equal(t, []string{atWork.Name}, w.clones())
		require.NoError(t, working.End())
		require.NoError(t, RemoveLeft(t.Context(), o, []string{"tank"}))
		assert.Empty(t, w.clones())

		n, err := o.Notes.Take("100")
		require.NoError(t, err)
		require.NoError(t, n.Write(noted{Pools: []string{"away"}}))
		n.Leave()
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		names, err := o.Notes.Names()
		require.NoError(t, err)
		assert.Equal(t, []string{"100"}, names, "the pool may come back with the clones")
		w.pools["away"] = map[string]zfs.Drilled{"away/snapwatch-drill/g100/d-0": {Name: "away/snapwatch-drill/g100/d-0", Origin: "away/x@s", Mark: left.Mark}}
		w.fails = "destroy"
		require.ErrorContains(t, RemoveLeft(t.Context(), o, nil), "clones of a drill of guest 100 may be left")
		w.fails = ""
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Empty(t, w.clones())
	})
}

// A clone that was found without a note gets one that names its pool: the pool may be imported late after
// a boot.
func TestRemoveLeftWritesTheNoteThatIsMissing(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		left := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-0", Origin: disk0 + "@s", Mark: "g100 2026-07-15T12:07:00Z"}
		w := newFakeWorld()
		w.pools["tank"][left.Name] = left
		w.fails = "destroy"
		o := Options{World: w, Notes: dir}
		require.ErrorContains(t, RemoveLeft(t.Context(), o, []string{"tank"}), "may be left")
		w.fails = ""
		tank := w.pools["tank"]
		delete(w.pools, "tank")
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		w.pools["tank"] = tank
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Empty(t, w.clones())
	})
}

// A pool with clones of a killed drill may be gone for good. That forbids no drill in other pools, and the
// note remembers the pool through all of them.
func TestDrillWithClonesInAPoolThatIsAway(t *testing.T) {
	dir := note.Dir(t.TempDir() + "/drills")
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld()
		o := Options{World: w, Notes: dir}
		n, err := dir.Take("100")
		require.NoError(t, err)
		require.NoError(t, n.Write(noted{[]string{"away", "tank"}, 4242}))
		n.Leave()
		for range 3 {
			require.NoError(t, RemoveLeft(t.Context(), o, []string{"fast", "tank"}))
			proof, err := Drill(t.Context(), o, drill.NewPlan(guest(), time.Now()))
			require.NoError(t, err)
			assert.Equal(t, drill.Checked, proof.Reach)
		}
		var kept noted
		require.NoError(t, dir.Read("100", &kept))
		assert.Equal(t, []string{"away", "fast", "tank"}, kept.Pools)

		w.looks = time.Minute
		time.AfterFunc(30*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.pools["fast"] = nil
		})
		_, err = Drill(t.Context(), o, drill.NewPlan(guest(), time.Now()))
		require.ErrorContains(t, err, "clones of a drill of guest 100 may be left", "the drill's own pool")

		w.pools["fast"] = map[string]zfs.Drilled{}
		left := zfs.Drilled{Name: "away/snapwatch-drill/g100/d-0", Origin: "away/x@s", Mark: "g100 2026-07-15T12:07:00Z"}
		w.pools["away"] = map[string]zfs.Drilled{left.Name: left}
		require.NoError(t, RemoveLeft(t.Context(), o, nil))
		assert.Empty(t, w.clones())
		names, err := dir.Names()
		require.NoError(t, err)
		assert.Empty(t, names)
	})
}

// A fact that cannot be read is a reason not to begin.
func TestPlanInDoubt(t *testing.T) {
	w := newFakeWorld()
	o := Options{World: w}
	f := drill.Facts{MaxDrill: time.Hour, FillWarning: 80, StoppedGrace: 24 * time.Hour}
	at := guest().Disks[0].At
	w.snapshots = map[string][]zfs.Snapshot{}
	for _, d := range []string{disk0, disk1} {
		for ago := 40; ago >= 0; ago-- {
			made := at.Creation.Add(-time.Duration(ago) * time.Hour)
			w.snapshots[d] = append(w.snapshots[d], zfs.Snapshot{Dataset: d, Name: zfs.FormatSnapshotName(made, zfs.Hourly), Creation: made, CreateTXG: uint64(100 - ago)})
		}
	}
	assert.Empty(t, Plan(t.Context(), o, guest(), f).Refusals)
	w.killAt = 1
	assert.Equal(t, []string{errKilled.Error()}, Plan(t.Context(), o, guest(), f).Refusals[:1])
	w.killAt, w.receiveAt = 0, 1
	assert.Contains(t, strings.Join(Plan(t.Context(), o, guest(), f).Refusals, ";"), "is being received")
	f.MaxDrill = time.Minute
	w.receiveAt = 0
	assert.Equal(t, time.Minute, Plan(t.Context(), o, guest(), f).MaxDrill)
	w.space = drill.Pool{Size: 100, Allocated: 95}
	assert.Contains(t, strings.Join(Plan(t.Context(), o, guest(), f).Refusals, ";"), "pool tank is 95% full")
}

// After a power cut a note may be empty, or cut off. Its drill's clones are found all the same.
func TestRemoveLeftOfAnUnreadableNote(t *testing.T) {
	for _, text := range []string{"", "\x00\x00\x00\x00", "{\"pools\":[\"ta"} {
		dir := note.Dir(t.TempDir() + "/drills")
		synctest.Test(t, func(t *testing.T) {
			left := zfs.Drilled{Name: "tank/snapwatch-drill/g100/d-0", Origin: disk0 + "@s", Mark: "g100 2026-07-15T12:07:00Z"}
			w := newFakeWorld()
			w.pools["tank"][left.Name] = left
			require.NoError(t, os.MkdirAll(string(dir), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(string(dir), "100"), []byte(text), 0o600))
			require.NoError(t, RemoveLeft(t.Context(), Options{World: w, Notes: dir}, nil))
			assert.Empty(t, w.clones(), text)
			names, err := dir.Names()
			require.NoError(t, err)
			assert.Empty(t, names)
		})
	}
}

// A record that another user could have written is not read, and a drill does not make it trusted.
func TestRecordOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, checker.ProofsName)
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"guests":[]}`), 0o600))
	require.NoError(t, os.Chmod(path, 0o666))
	l := Local{StateDir: dir, LockDir: dir, Clock: time.Now}
	assert.ErrorContains(t, l.Record(t.Context(), guest(), checker.Drill{Reach: drill.Checked, At: time.Now()}), "can be written by others")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `{"version":1,"guests":[]}`, string(text))
}
