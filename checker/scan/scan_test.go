package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/command"
	"snapwatch/internal/zfstest"
)

const (
	hourly  = "autosnap_2026-03-29_11:00:00_hourly"
	older   = "autosnap_2026-03-29_10:00:00_hourly"
	stopped = "autosnap_2026-03-29_11:30:00_stopped"
	foreign = "syncoid_c_host_2026-03-29:11:45:00-GMT00:00"
)

// snapshot returns a snapshot with the given txg; its guid and creation time are derived from the
// txg.
func snapshot(name string, txg uint64) zfstest.Snapshot {
	return zfstest.Snapshot{Name: name, GUID: 1000 + txg, TXG: txg, Creation: now.Unix() - 3600 + int64(txg)}
}

// disk returns a dataset whose list of snapshots last changed an hour ago.
func disk(name string, guid uint64, snapshots ...zfstest.Snapshot) zfstest.Dataset {
	return zfstest.Dataset{Name: name, GUID: guid, Creation: now.Unix() - 86400, Changed: now.Unix() - 3600, Snapshots: snapshots}
}

func pool(name string) zfstest.Dataset { return zfstest.Dataset{Name: name, GUID: 1, Creation: 1} }

func scanner(f *zfstest.Fake) Scanner {
	return Scanner{Kstat: f.Kstat, LockDir: f.LockDir, Now: func() time.Time { return now }, Cache: NewCache()}
}

// plainWorld returns a fake pool with a disk whose newest snapshot is managed, a disk whose newest
// snapshot is not managed, a disk without snapshots, and datasets that are not disks.
func plainWorld() zfstest.World {
	return zfstest.World{Datasets: []zfstest.Dataset{
		pool("tank"),
		pool("tank/sub"),
		disk("tank/vm-100-disk-0", 100, snapshot(older, 1), snapshot(hourly, 2)),
		disk("tank/sub/vm-101-disk-0", 101, snapshot(hourly, 3), snapshot(foreign, 4)),
		disk("tank/vm-102-disk-0", 102),
		disk("tank/base-103-disk-0", 103, snapshot("__base__", 5)),
		disk("tank/vm-104-cloudinit", 104, snapshot(hourly, 6)),
		disk("tank/xvm-105-disk-0", 105, snapshot(hourly, 7)),
	}}
}

func scan(t *testing.T, s Scanner, roots ...string) checker.Pool {
	t.Helper()
	if len(roots) == 0 {
		roots = []string{"tank"}
	}
	return s.Pool(t.Context(), "tank", roots)
}

func TestScanFindsDisksAndTheirNewestManagedSnapshot(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	p := scan(t, scanner(f))
	require.Empty(t, p.Problem)
	require.Len(t, p.Disks, 4)
	got := map[string]string{}
	for _, d := range p.Disks {
		got[d.Dataset] = d.Suffix()
		if d.Newest != nil {
			got[d.Dataset] += " " + d.Newest.Name
		}
	}
	assert.Equal(t, map[string]string{
		"tank/vm-100-disk-0":     "hourly " + hourly,
		"tank/sub/vm-101-disk-0": "hourly " + hourly,
		"tank/vm-102-disk-0":     "none",
		"tank/base-103-disk-0":   "other",
	}, got)
	assert.Equal(t, now.Unix()-3600+2, p.Disks[2].Newest.Creation.Unix(), "creation is the snapshot's own")
	assert.Len(t, f.Calls(), 5, "heads, the newest, the names behind foreign snapshots of one disk and of another, what these gave: %q", f.Calls())
	for _, call := range f.Calls() {
		assert.NotContains(t, call, "program")
	}
}

func TestScanAsksNothingAgainThatDidNotChange(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	s := scanner(f)
	first := scan(t, s)
	f.Forget()
	second := scan(t, s)
	assert.Equal(t, first.Disks, second.Disks)
	assert.Len(t, f.Calls(), 1, "only the heads: %q", f.Calls())

	w := plainWorld()
	w.Datasets[2].Snapshots = append(w.Datasets[2].Snapshots, snapshot(stopped, 20))
	f.Set(w)
	f.Forget()
	third := scan(t, s)
	require.Len(t, f.Calls(), 2)
	assert.True(t, strings.HasSuffix(f.Calls()[1], " tank/vm-100-disk-0@"+stopped), "only the new one is looked up: %q", f.Calls())
	assert.Equal(t, "stopped", suffixOf(third, "tank/vm-100-disk-0"))
}

func suffixOf(p checker.Pool, dataset string) string {
	for _, d := range p.Disks {
		if d.Dataset == dataset {
			return d.Suffix()
		}
	}
	return "no such disk"
}

func TestScanListsAgainWhatMayHaveChangedUnseen(t *testing.T) {
	for name, changed := range map[string]int64{
		"the snapshots changed within the last seconds": now.Unix() - 1,
		"zfs does not tell when they changed":           0,
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			w.Datasets[3].Changed = changed
			f := zfstest.New(t, w)
			s := scanner(f)
			scan(t, s)
			// A managed snapshot appears that is not the newest one, so the properties of the
			// disk's head do not show it.
			w.Datasets[3].Snapshots = append([]zfstest.Snapshot{{Name: stopped, GUID: 5, TXG: 3, Creation: 1}}, w.Datasets[3].Snapshots...)
			w.Datasets[3].Snapshots[1].TXG = 2
			f.Set(w)
			assert.Equal(t, "stopped", suffixOf(scan(t, s), "tank/sub/vm-101-disk-0"))
		})
	}
}

func TestScanListsAgainWhenAnyFactBehindAHintChanges(t *testing.T) {
	for name, change := range map[string]func(*zfstest.Dataset){
		"guid":              func(d *zfstest.Dataset) { d.GUID++ },
		"origin":            func(d *zfstest.Dataset) { d.Origin = "tank/base-103-disk-0@__base__" },
		"newest":            func(d *zfstest.Dataset) { d.Snapshots[len(d.Snapshots)-1].Name += "x" },
		"snapshots_changed": func(d *zfstest.Dataset) { d.Changed++ },
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			f := zfstest.New(t, w)
			s := scanner(f)
			scan(t, s)
			w = plainWorld()
			change(&w.Datasets[3])
			f.Set(w)
			f.Forget()
			scan(t, s)
			assert.Contains(t, strings.Join(f.Calls(), "\n"), "-d 1 -t snapshot -o name,guid,createtxg tank/sub/vm-101-disk-0")
		})
	}
}

func TestScanWorksWithOpenZFS21(t *testing.T) {
	w := plainWorld()
	w.NoSnapshotsChanged = true
	f := zfstest.New(t, w)
	p := scan(t, scanner(f))
	require.Empty(t, p.Problem)
	assert.Equal(t, "hourly", suffixOf(p, "tank/sub/vm-101-disk-0"))
}

// If an older ZFS lacks a property that the scan needs, the scan finds the same fact with a slower
// command, and runs this command only as often as necessary.
func TestScanWithWhatZFSTells(t *testing.T) {
	lists := func(calls []string) (disks int) {
		for _, c := range calls {
			if strings.Contains(c, "-d 1 -t snapshot -o name,guid,createtxg") {
				disks += strings.Count(c, "tank/")
			}
		}
		return disks
	}
	for name, c := range map[string]struct {
		noPrevsnap, oddPrevsnap, noChanged bool
		first, second                      int // the number of disks whose snapshots are listed
	}{
		"all":                   {first: 2},
		"not when they changed": {noChanged: true, first: 2, second: 2},
		"not the newest":        {noPrevsnap: true, first: 4},
		"the newest otherwise":  {oddPrevsnap: true, first: 4},
		"neither":               {noPrevsnap: true, noChanged: true, first: 4, second: 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			w.NoPrevsnap, w.OddPrevsnap, w.NoSnapshotsChanged = c.noPrevsnap, c.oddPrevsnap, c.noChanged
			f := zfstest.New(t, w)
			s := scanner(f)
			path := f.Path("cache")
			for turn, want := range []int{c.first, c.second, c.second} {
				f.Forget()
				p := scan(t, s)
				require.Empty(t, p.Problem)
				for dataset, suffix := range map[string]string{
					"tank/vm-100-disk-0": "hourly", "tank/sub/vm-101-disk-0": "hourly", "tank/vm-102-disk-0": "none", "tank/base-103-disk-0": "other",
				} {
					assert.Equal(t, suffix, suffixOf(p, dataset), dataset)
				}
				assert.Equal(t, want, lists(f.Calls()), "turn %d: %q", turn, f.Calls())
				// The third scan uses the cache after it was saved in a file and read again.
				require.NoError(t, s.Cache.Save(path))
				var err error
				s.Cache, err = LoadCache(path)
				require.NoError(t, err)
			}
		})
	}
}

// If listing a pool's snapshots takes longer than one scan may take, several scans together read
// the pool completely, because a scan does not read a finished list again.
func TestALongListingGoesOnWhereItEnded(t *testing.T) {
	w := zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}}
	for i := range 20 {
		w.Datasets = append(w.Datasets, disk(fmt.Sprintf("tank/vm-%d-disk-0", 100+i), uint64(100+i), snapshot(hourly, 3), snapshot(foreign, 4)))
	}
	f := zfstest.New(t, w)
	s := scanner(f)
	clock, each := now, time.Second // each is the time for listing the snapshots of one disk
	s.Now = func() time.Time { return clock }
	var sizes []int
	var stop func()
	read := func() checker.Pool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		clock, stop = now, cancel
		return s.Pool(ctx, "tank", []string{"tank"})
	}
	s.Run = func(ctx context.Context, c command.Cmd, line func(string) error) error {
		out, _, _ := w.Answer(c.Argv[1:])
		if n := strings.Count(strings.Join(c.Argv, " "), "tank/"); slices.Contains(c.Argv, "-d") {
			sizes = append(sizes, n)
			clock = clock.Add(time.Duration(n) * each)
			if clock.Sub(now) > 30*time.Second {
				stop()
				return fmt.Errorf("zfs list: %w", ctx.Err())
			}
		}
		return command.ReadLines(strings.NewReader(out), line)
	}
	p := read()
	assert.Empty(t, p.Problem)
	assert.Equal(t, []int{1, 2, 4, 8, 5}, sizes, "more at once while that is quick")
	assert.Len(t, p.Disks, 20)

	s.Cache, sizes, each = NewCache(), nil, 4*time.Second
	p = read()
	require.Empty(t, p.Problem)
	assert.Equal(t, "hourly", suffixOf(p, "tank/vm-106-disk-0"), "what was listed is whole")
	assert.Contains(t, p.Disks[7].Problem, "reading pool tank was given up: listed the snapshots of 7 of 20 disks so far")
	assert.Equal(t, []int{1, 2, 2, 2, 2}, sizes)
	read()
	p = read()
	for _, d := range p.Disks {
		assert.Empty(t, d.Problem)
	}
	assert.Equal(t, "hourly", suffixOf(p, "tank/vm-119-disk-0"))
	assert.Equal(t, "hourly", suffixOf(p, "tank/vm-100-disk-0"))
}

// If listing one disk's snapshots takes longer than a scan may take, only this disk has no answer
// in each scan.
func TestOneLongListCostsItself(t *testing.T) {
	w := zfstest.World{
		Datasets: []zfstest.Dataset{
			pool("tank"),
			disk("tank/vm-1-disk-0", 1, snapshot(hourly, 1), snapshot(foreign, 2)),
			disk("tank/vm-2-disk-0", 2, snapshot(hourly, 3)),
			disk("tank/vm-3-disk-0", 3),
		},
		Faults: []zfstest.Fault{{Words: []string{"-d", "name,guid,createtxg tank/vm-1-disk-0"}, Hang: true}},
	}
	f := zfstest.New(t, w)
	s := scanner(f)
	s.LockDir = t.TempDir()
	read := func() checker.Pool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return s.Pool(ctx, "tank", []string{"tank"})
	}
	p := read()
	require.Empty(t, p.Problem)
	require.Len(t, p.Disks, 3)
	assert.Contains(t, p.Disks[0].Problem, "reading pool tank took too long: listed the snapshots of 0 of 1 disks so far: ")
	assert.Equal(t, hourly, p.Disks[1].Newest.Name)
	assert.Empty(t, p.Disks[2].Problem)
	f.EndHung()
	w.Faults = nil
	f.Set(w)
	assert.Empty(t, read().Disks[0].Problem)
}

// If only a list of snapshots can show a disk's newest snapshot (ZFS without prevsnap), an
// incomplete list proves nothing.
func TestScanWithoutPrevsnapOfAnIncompleteList(t *testing.T) {
	w := plainWorld()
	w.NoPrevsnap = true
	w.Faults = []zfstest.Fault{{Words: []string{"list", "-d 1"}, Exit: 1, Stderr: "cannot open 'tank/vm-9-disk-0': dataset does not exist\n"}}
	p := scan(t, scanner(zfstest.New(t, w)))
	require.Empty(t, p.Problem)
	for _, d := range p.Disks {
		assert.Contains(t, d.Problem, "the list of its snapshots may be incomplete")
	}
}

func TestScanOfAnIncompleteAnswer(t *testing.T) {
	lookup := []string{"list", "creation"}
	names := []string{"list", "-d 1"}
	for name, c := range map[string]struct {
		fault   zfstest.Fault
		problem string            // the pool's problem
		read    int               // the number of disks that were read in spite of the problem
		disks   map[string]string // the problems of single disks
	}{
		"a lookup lacks a row once":       {fault: zfstest.Fault{Words: lookup, DropRows: 1, Calls: 1}},
		"a name list lacks a row once":    {fault: zfstest.Fault{Words: names, DropRows: 1, Calls: 1}},
		"a lookup always lacks a row":     {fault: zfstest.Fault{Words: append(lookup, "vm-100"), DropRows: 1}, disks: map[string]string{"tank/vm-100-disk-0": "no answer"}},
		"a name list always lacks a row":  {fault: zfstest.Fault{Words: append(names, "vm-101"), DropRows: 1}, disks: map[string]string{"tank/sub/vm-101-disk-0": "lacks " + foreign}},
		"a lookup prints nothing":         {fault: zfstest.Fault{Words: lookup, DropRows: 9}, disks: map[string]string{"tank/vm-100-disk-0": "no answer", "tank/sub/vm-101-disk-0": "no answer"}},
		"a lookup is cut in a line":       {fault: zfstest.Fault{Words: lookup, CutBytes: 30}, disks: map[string]string{"tank/vm-100-disk-0": "unexpected line", "tank/sub/vm-101-disk-0": "unexpected line"}},
		"heads are cut in a line":         {fault: zfstest.Fault{Words: []string{"get"}, CutBytes: 5}, problem: "unexpected line"},
		"heads end within a dataset":      {fault: zfstest.Fault{Words: []string{"get"}, DropRows: 3}, problem: "ends in the middle"},
		"heads fail":                      {fault: zfstest.Fault{Words: []string{"get"}, Exit: 1, Stderr: "cannot open 'tank': pool I/O is currently suspended\n"}, problem: "suspended", read: 4},
		"heads print all and fail":        {fault: zfstest.Fault{Words: []string{"get"}, Exit: 1}, problem: "exit status 1", read: 4},
		"heads print some and fail":       {fault: zfstest.Fault{Words: []string{"get"}, DropRows: 35, Exit: 1, Stderr: "cannot open 'tank/vm-102-disk-0': I/O error\n"}, problem: "'tank/vm-102-disk-0': I/O error", read: 2},
		"heads print nothing and fail":    {fault: zfstest.Fault{Words: []string{"get"}, DropRows: 99, Exit: 1}, problem: "exit status 1"},
		"a lookup prints all and fails":   {fault: zfstest.Fault{Words: lookup, Exit: 1, Stderr: "internal error: out of memory\n"}},
		"a lookup prints some and fails":  {fault: zfstest.Fault{Words: append(lookup, "vm-100"), DropRows: 1, Exit: 1, Stderr: "cannot open 'tank/vm-100-disk-0': I/O error\n"}, disks: map[string]string{"tank/vm-100-disk-0": "I/O error"}},
		"a name list fails":               {fault: zfstest.Fault{Words: append(names, "vm-101"), Exit: 1, Stderr: "cannot open 'tank/sub/vm-101-disk-0': I/O error\n"}, disks: map[string]string{"tank/sub/vm-101-disk-0": "I/O error"}},
		"a lookup answers something else": {fault: zfstest.Fault{Words: lookup, Output: "tank/vm-102-disk-0@" + hourly + "\t1\t2\t3\n"}, disks: map[string]string{"tank/vm-100-disk-0": "was not requested", "tank/sub/vm-101-disk-0": "was not requested"}},
		"something vanishes once":         {fault: zfstest.Fault{Words: []string{"get"}, Exit: 1, Stderr: "cannot open 'tank/vm-1-disk-0': dataset does not exist\n", Calls: 1}},
		"something vanishes again":        {fault: zfstest.Fault{Words: []string{"get"}, Exit: 1, Stderr: "cannot open 'tank/vm-1-disk-0': dataset does not exist\n"}},
		"a line is huge":                  {fault: zfstest.Fault{Words: []string{"get"}, Output: strings.Repeat("x", 2<<20)}, problem: "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			w.Faults = []zfstest.Fault{c.fault}
			f := zfstest.New(t, w)
			p := scan(t, scanner(f))
			if c.problem != "" {
				assert.Contains(t, p.Problem, c.problem)
				assert.Len(t, p.Disks, c.read)
				assert.Zero(t, p.ReadAt)
				for _, d := range p.Disks {
					assert.Empty(t, d.Problem)
				}
				assert.Equal(t, checker.Unknown, assemble(p).Pools[0].State)
				return
			}
			require.Empty(t, p.Problem)
			require.Len(t, p.Disks, 4)
			for _, d := range p.Disks {
				if want := c.disks[d.Dataset]; want == "" {
					assert.Empty(t, d.Problem, d.Dataset)
				} else {
					assert.Contains(t, d.Problem, want)
					assert.Equal(t, checker.Unknown, assemble(checker.Pool{Name: "tank", Disks: []checker.Disk{d}}).State())
				}
			}
		})
	}
}

func TestScanOfAPoolThatIsNotThere(t *testing.T) {
	for state, c := range map[string]struct {
		missing bool
		problem string
	}{
		"":              {true, "not imported"},
		"SUSPENDED":     {false, "suspended"},
		"TRANSITIONING": {false, "TRANSITIONING"},
		"FAULTED":       {false, "FAULTED"},
	} {
		t.Run(state, func(t *testing.T) {
			f := zfstest.New(t, plainWorld())
			f.Pool("tank", state)
			p := scan(t, scanner(f))
			assert.Equal(t, c.missing, p.Missing)
			assert.Contains(t, p.Problem, c.problem)
			assert.Empty(t, f.Calls(), "it must not be asked")
		})
	}
}

func TestScanOfARootThatIsNotThere(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	p := scan(t, scanner(f), "tank/gone", "tank/sub")
	require.Empty(t, p.Problem)
	assert.Equal(t, []string{"tank/gone"}, p.MissingRoots)
	assert.Len(t, p.Disks, 1)
	r := assemble(p)
	assert.Equal(t, checker.Critical, r.State())
}

// A stream may contain a creation time that JSON cannot represent, or that is invalid. An invalid
// creation time of a snapshot is a problem of the snapshot's disk only. The disks with valid times
// are judged, printed as JSON, and remembered.
func TestScanOfAStrangeTime(t *testing.T) {
	for _, creation := range []int64{0, 568971820800, -1} {
		w := plainWorld()
		w.Datasets[2].Snapshots[1].Creation = creation
		f := zfstest.New(t, w)
		s := scanner(f)
		p := scan(t, s)
		require.Empty(t, p.Problem)
		require.Len(t, p.Disks, 4)
		for _, d := range p.Disks {
			if d.Dataset == w.Datasets[2].Name {
				assert.Contains(t, d.Problem, "creation: ")
				assert.Nil(t, d.Newest)
			} else {
				assert.Empty(t, d.Problem, d.Dataset)
			}
		}
		_, err := json.Marshal(assemble(p).Document())
		assert.NoError(t, err)
		assert.NoError(t, s.Cache.Save(filepath.Join(t.TempDir(), "cache.json")))
		calls := len(f.Calls())
		scan(t, s)
		assert.LessOrEqual(t, len(f.Calls())-calls, 3, "it is not asked for twice at each scan: %v", f.Calls())
	}
}

// A received label may have any content. Whatever a label contains, the scan must find the disks
// that exist, and no others.
func TestScanOfHostileLabels(t *testing.T) {
	row := func(dataset, property, value string) string {
		return fmt.Sprintf("%s\t%s\t%s\t-\n", dataset, property, value)
	}
	whole := row("tank/vm-100-disk-0", "label:nosnap", "-") + row("tank/vm-100-disk-0", "guid", "100")
	for _, p := range []string{"creation 1", "origin -", "prevsnap -", "inconsistent 1", "receive_resume_token -", "written 0", "snapshots_changed 1"} {
		property, value, _ := strings.Cut(p, " ")
		whole += row("tank/vm-999-disk-0", property, value)
	}
	for name, value := range map[string]string{
		"newline":       "a\nb",
		"tab":           "a\tb",
		"rows":          "a\treceived\n" + whole + "tank/vm-999-disk-0\tlabel:running\tx",
		"own next row":  "a\t-\treceived\ntank/vm-100-disk-0\tlabel:nosnap\ton",
		"another disk":  "a\t-\treceived\ntank/vm-102-disk-0\ttype\tvolume",
		"invalid UTF-8": "a\xffb",
		"empty lines":   "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			w.Datasets[2].Labels = map[string][3]string{"label:running": {value, "-", "received"}}
			f := zfstest.New(t, w)
			p := scan(t, scanner(f))
			require.Empty(t, p.Problem)
			require.Len(t, p.Disks, 4)
			for _, d := range p.Disks {
				assert.Empty(t, d.NoSnap.Value, d.Dataset)
			}
			if name != "invalid UTF-8" {
				assert.Len(t, p.Remarks, 2, "and a dataset that is not a disk")
				assert.Contains(t, p.Remarks[0], "tank/vm-100-disk-0: its labels could not be read")
			}
		})
	}
}

func TestScanLeavesAHungZFSBehindAndStartsNoOther(t *testing.T) {
	w := plainWorld()
	w.Faults = []zfstest.Fault{{Words: []string{"get"}, Hang: true}}
	f := zfstest.New(t, w)
	s := scanner(f)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan checker.Pool)
	go func() { result <- s.Pool(ctx, "tank", []string{"tank"}) }()
	f.AwaitHung(1)
	cancel()
	assert.Contains(t, (<-result).Problem, "given up")

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p := s.Pool(short, "tank", []string{"tank"})
	assert.Contains(t, p.Problem, "locked by")
	assert.Len(t, f.Calls(), 1, "the hung one still holds the lock")
	assert.Equal(t, 1, f.Hung())

	f.EndHung()
	f.Set(plainWorld())
	assert.Empty(t, scan(t, s).Problem, "the lock ends with the process")
}

func TestScanOfOtherPoolsGoesOnWhileOneHangs(t *testing.T) {
	w := plainWorld()
	w.Datasets = append(w.Datasets, pool("good"), disk("good/vm-1-disk-0", 1, snapshot(hourly, 1)))
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Hang: true}}
	f := zfstest.New(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { f.AwaitHung(1); cancel() }()
	pools := scanner(f).All(ctx, Targets{"tank": {"tank"}, "gone": nil})
	assert.True(t, pools[0].Missing)
	assert.NotEmpty(t, pools[1].Problem)
	p := scanner(f).Pool(t.Context(), "good", []string{"good"})
	assert.Empty(t, p.Problem)
	assert.Len(t, p.Disks, 1)
}

func TestScanWaitsForAnotherListing(t *testing.T) {
	w := plainWorld()
	f := zfstest.New(t, w)
	gate := f.Path("gate")
	w.Faults = []zfstest.Fault{{Words: []string{"get"}, WaitFor: gate, Calls: 1}}
	f.Set(w)
	results := make(chan checker.Pool, 2)
	for range 2 {
		go func() { results <- scanner(f).Pool(t.Context(), "tank", []string{"tank"}) }()
	}
	require.Eventually(t, func() bool { return len(f.Calls()) == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	for range 2 {
		assert.Empty(t, (<-results).Problem)
	}
}

func TestScanOfAnEmptyPoolAsksOnce(t *testing.T) {
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}})
	p := scan(t, scanner(f))
	assert.Empty(t, p.Problem)
	assert.Empty(t, p.Disks)
	assert.Len(t, f.Calls(), 1)
	assert.Equal(t, checker.Unknown, assemble(p).State(), "nothing found is not OK")
}

// check names datasets that are not disks but have managed snapshots, because a person could
// believe that check watches such datasets.
func TestManagedSnapshotsOfWhatIsNoDiskAreNamed(t *testing.T) {
	w := plainWorld()
	w.Datasets = append(w.Datasets, disk("tank/pve/web01", 110, snapshot(hourly, 8)), disk("tank/vm-103-disk-0_old", 111, snapshot(foreign, 9)))
	f := zfstest.New(t, w)
	assert.Equal(t, []string{"managed snapshots on 2 datasets whose names are not those of disks, such as tank/pve/web01: they are not watched"}, scan(t, scanner(f)).Remarks)
}

// If a dataset was received while this host's clock was ahead, its age is the age of its newest
// snapshot. If a dataset from a time when the clock was ahead has no snapshot, its age is unknown.
func TestReceivedWhileTheClockWasAhead(t *testing.T) {
	w := zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), disk("tank/vm-1-disk-0", 1, snapshot(hourly, 1)), disk("tank/vm-2-disk-0", 2)}}
	for i := range w.Datasets {
		w.Datasets[i].Creation = now.AddDate(1, 0, 0).Unix()
	}
	r := assemble(scan(t, scanner(zfstest.New(t, w))))
	verdicts := map[string]checker.State{}
	for _, d := range r.Disks {
		verdicts[d.Dataset+" "+d.Verdict.String()] = d.State
	}
	assert.Equal(t, map[string]checker.State{"tank/vm-1-disk-0 fresh": checker.OK, "tank/vm-2-disk-0 never": checker.Warning}, verdicts)
}

// The clones of drills are not disks, and neither is anything else below the dataset of the drills.
func TestNothingBelowTheDrillsIsADisk(t *testing.T) {
	w := plainWorld()
	before := scan(t, scanner(zfstest.New(t, w)))
	drill := disk("tank/snapwatch-drill/g100/d-0", 110)
	drill.Origin = "tank/vm-101-disk-0@" + hourly
	w.Datasets = append(w.Datasets, disk("tank/snapwatch-drill", 112), drill, disk("tank/snapwatch-drill/vm-104-disk-0", 111, snapshot(hourly, 8)), disk("tank/snapwatch-drill/web01", 113, snapshot(hourly, 9)))
	p := scan(t, scanner(zfstest.New(t, w)))
	assert.Equal(t, before.Remarks, p.Remarks)
	assert.Equal(t, before.Disks, p.Disks)
}
