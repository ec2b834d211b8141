package scan

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

// made returns a managed snapshot with the given age and class.
func made(age time.Duration, class string, guid uint64) zfstest.Snapshot {
	return zfstest.Snapshot{Name: "autosnap_" + ago(age).Format("2006-01-02_15:04:05") + "_" + class, GUID: guid, TXG: 100000 - uint64(age/time.Second), Creation: ago(age).Unix()}
}

// nextProcess returns the scanner of a new process, with the cache that the ended process wrote.
func nextProcess(t *testing.T, s Scanner) Scanner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "newest.json")
	require.NoError(t, s.Cache.Save(path))
	var err error
	s.Cache, err = LoadCache(path)
	require.NoError(t, err)
	return s
}

// guestsOf scans pools, and looks up snapshots until the report asks no more questions about
// snapshots. The results are the guests, and the number of lists of snapshots that were read.
func guestsOf(t *testing.T, f *zfstest.Fake, s Scanner, pools ...string) (guests []checker.Guest, lists int) {
	t.Helper()
	targets := Targets{}
	for _, p := range pools {
		targets[p] = []string{p}
	}
	read := s.All(t.Context(), targets)
	f.Forget()
	p := checker.NewPolicy(config.Default())
	judge := func(pools []checker.Pool) checker.Report { return checker.Assemble(pools, p, now).WithGuests(p) }
	r := judge(s.LookAtGuests(t.Context(), read, judge))
	for _, call := range f.Calls() {
		if strings.Contains(call, "-d 1 -t snapshot") {
			lists++
		}
	}
	return r.Guests, lists
}

func twoPools(first, second []zfstest.Snapshot) zfstest.World {
	return zfstest.World{Datasets: []zfstest.Dataset{pool("fast"), pool("tank"), disk("fast/vm-100-disk-0", 100, first...), disk("tank/vm-100-disk-1", 101, second...)}}
}

func TestGuestsFindTheRestorePoint(t *testing.T) {
	for name, c := range map[string]struct {
		first, second []zfstest.Snapshot
		verdict       checker.GuestVerdict
		point         time.Duration
		lists         int
	}{
		"they agree":                   {[]zfstest.Snapshot{made(hour, "hourly", 1)}, []zfstest.Snapshot{made(hour, "hourly", 2)}, checker.GuestWhole, hour, 0},
		"the class does not matter":    {[]zfstest.Snapshot{made(hour, "hourly", 1), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(hour, "daily", 2)}, checker.GuestWhole, hour, 0},
		"only an older one is in both": {[]zfstest.Snapshot{made(90*minute, "hourly", 1), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(90*minute, "hourly", 2), made(hour, "hourly", 4)}, checker.GuestWhole, 90 * minute, 2},
		"none is":                      {[]zfstest.Snapshot{made(minute, "hourly", 3)}, []zfstest.Snapshot{made(hour, "hourly", 4)}, checker.GuestTorn, -1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := zfstest.New(t, twoPools(c.first, c.second))
			s := scanner(f)
			guests, lists := guestsOf(t, f, s, "fast", "tank")
			require.Len(t, guests, 1)
			assert.Equal(t, c.verdict.String(), guests[0].Verdict.String(), guests[0].Reason)
			assert.Equal(t, c.lists, lists)
			if c.point < 0 {
				assert.Nil(t, guests[0].Point)
			} else if assert.NotNil(t, guests[0].Point, guests[0].Reason) {
				assert.Equal(t, c.point, guests[0].Age)
			}
			again, lists := guestsOf(t, f, nextProcess(t, s), "fast", "tank")
			assert.Equal(t, guests, again)
			assert.Zero(t, lists, "lists are read once a change, whichever process did")
		})
	}
}

// While the replication of one of a guest's disks is broken, each new snapshot of the guest's other
// disks costs one lookup of names, and no list of snapshots.
func TestATornGuestIsListedOnce(t *testing.T) {
	fresh, cut := []zfstest.Snapshot{made(9*hour, "frequently", 11), made(8*hour, "hourly", 1), made(7*hour, "frequently", 5), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(8*hour, "hourly", 2), made(30*minute, "daily", 4)}
	f := zfstest.New(t, twoPools(fresh, cut))
	s := scanner(f)
	guests, lists := guestsOf(t, f, s, "fast", "tank")
	assert.Equal(t, checker.GuestTorn.String(), guests[0].Verdict.String(), guests[0].Reason)
	assert.Equal(t, 8*hour, guests[0].Age)
	assert.Positive(t, lists)
	w := twoPools(append(fresh, made(0, "hourly", 6)), cut)
	w.Datasets[2].Changed += 60
	f.Set(w)
	guests, lists = guestsOf(t, f, s, "fast", "tank")
	assert.Equal(t, checker.GuestTorn, guests[0].Verdict)
	assert.Zero(t, lists)
}

// After the snapshots that a guest's disks had in common were destroyed, the guest must not keep
// the restore point of these snapshots, even if the newest snapshot of each disk is unchanged.
func TestWhatGuestsHadInCommonIsLookedUpAgain(t *testing.T) {
	one := []zfstest.Snapshot{made(90*minute, "hourly", 1), made(minute, "hourly", 3)}
	two := []zfstest.Snapshot{made(90*minute, "hourly", 2), made(30*minute, "hourly", 4)}
	f := zfstest.New(t, twoPools(one, two))
	s := scanner(f)
	guests, _ := guestsOf(t, f, s, "fast", "tank")
	require.NotNil(t, guests[0].Point)
	w := twoPools(one[1:], two)
	w.Datasets[2].Changed += 60
	f.Set(w)
	guests, _ = guestsOf(t, f, s, "fast", "tank")
	assert.Nil(t, guests[0].Point)
	assert.Equal(t, checker.GuestTorn, guests[0].Verdict)
}

// A guest may have a newer restore point than before, although the snapshots of the earlier restore
// point still exist.
func TestANewerPointIsFoundBesideTheOneBefore(t *testing.T) {
	f := zfstest.New(t, twoPools([]zfstest.Snapshot{made(90*minute, "hourly", 1), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(90*minute, "hourly", 2), made(30*minute, "hourly", 4)}))
	s := scanner(f)
	guestsOf(t, f, s, "fast", "tank")
	w := twoPools([]zfstest.Snapshot{made(90*minute, "hourly", 1), made(20*minute, "hourly", 5), made(0, "hourly", 6)},
		[]zfstest.Snapshot{made(90*minute, "hourly", 2), made(30*minute, "hourly", 4), made(20*minute, "hourly", 7), made(10*minute, "hourly", 8)})
	w.Datasets[2].Changed += 60
	w.Datasets[3].Changed += 60
	f.Set(w)
	guests, _ := guestsOf(t, f, s, "fast", "tank")
	assert.Equal(t, 20*minute, guests[0].Age)
}

// If one of a guest's two disks is unchanged, the guest may have a newer restore point than before:
// the other disk may have received snapshots that only the unchanged disk had.
func TestANewerPointIsFoundWhereTheOtherDiskCatchesUp(t *testing.T) {
	fast := []zfstest.Snapshot{made(5*hour, "hourly", 1), made(60*minute, "hourly", 3), made(30*minute, "frequently", 5)}
	tank := []zfstest.Snapshot{made(5*hour, "hourly", 2)}
	f := zfstest.New(t, twoPools(fast, tank))
	s := scanner(f)
	guestsOf(t, f, s, "fast", "tank")
	w := twoPools(fast, append(tank, made(60*minute, "hourly", 4), made(minute, "frequently", 6)))
	w.Datasets[3].Changed += 60
	f.Set(w)
	guests, _ := guestsOf(t, f, s, "fast", "tank")
	assert.Equal(t, 60*minute, guests[0].Age)
}

// Two datasets with one disk name are copies of one disk if they share a snapshot. The two datasets
// remain copies of one disk after the snapshot that they shared was destroyed.
func TestGuestsTellCopiesFromOtherDisks(t *testing.T) {
	world := func(fresh, old []zfstest.Snapshot) zfstest.World {
		return zfstest.World{Datasets: []zfstest.Dataset{pool("fast"), pool("tank"), disk("fast/vm-100-disk-0", 100, fresh...), disk("tank/vm-100-disk-0", 101, old...)}}
	}
	old := []zfstest.Snapshot{made(73*hour, "hourly", 1)}
	for name, c := range map[string]struct {
		fresh   []zfstest.Snapshot
		verdict checker.GuestVerdict
	}{
		"a copy":               {[]zfstest.Snapshot{made(73*hour, "hourly", 1), made(minute, "hourly", 2)}, checker.GuestWhole},
		"a copy, by its list":  {[]zfstest.Snapshot{made(80*hour, "hourly", 7), made(minute, "hourly", 2)}, checker.GuestWhole},
		"another disk":         {[]zfstest.Snapshot{made(73*hour, "hourly", 9), made(minute, "hourly", 2)}, checker.GuestStale},
		"another, no one time": {[]zfstest.Snapshot{made(minute, "hourly", 2)}, checker.GuestStale},
	} {
		t.Run(name, func(t *testing.T) {
			old := append([]zfstest.Snapshot{made(80*hour, "hourly", 7)}, old...)
			f := zfstest.New(t, world(c.fresh, old))
			s := scanner(f)
			guests, _ := guestsOf(t, f, s, "fast", "tank")
			assert.Equal(t, c.verdict.String(), guests[0].Verdict.String(), guests[0].Reason)
			_, lists := guestsOf(t, f, nextProcess(t, s), "fast", "tank")
			assert.Zero(t, lists)
			if c.verdict == checker.GuestWhole {
				w := world([]zfstest.Snapshot{made(minute, "hourly", 2)}, old) // the shared snapshots were destroyed by rotation
				w.Datasets[2].Changed += 60
				f.Set(w)
				guests, lists = guestsOf(t, f, nextProcess(t, s), "fast", "tank")
				assert.Equal(t, c.verdict, guests[0].Verdict)
				assert.Zero(t, lists)
			}
		})
	}
}

func TestGuestsSayWhatCouldNotBeLookedUp(t *testing.T) {
	w := twoPools([]zfstest.Snapshot{made(minute, "hourly", 3)}, []zfstest.Snapshot{made(hour, "hourly", 4)})
	w.Faults = []zfstest.Fault{{Words: []string{"createtxg", "-s", "fast/vm-100-disk-0"}, Stderr: "cannot open: I/O error\n", Exit: 1}}
	f := zfstest.New(t, w)
	guests, _ := guestsOf(t, f, scanner(f), "fast", "tank")
	assert.Equal(t, checker.GuestUnreadable.String(), guests[0].Verdict.String())
	assert.Contains(t, guests[0].Reason, "I/O error")
}

// Only one list of snapshots of a pool is read at a time: reading a second list would double the
// cost, and could hang, too. A lookup of snapshots by name does not wait for the end of a list of
// snapshots.
func TestGuestsWaitForTheirTurn(t *testing.T) {
	f := zfstest.New(t, twoPools([]zfstest.Snapshot{made(90*minute, "hourly", 1), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(90*minute, "hourly", 2), made(hour, "hourly", 4)}))
	var mu sync.Mutex
	locks := map[string]int{}
	s := scanner(f)
	s.Run = func(ctx context.Context, c command.Cmd, each func(string) error) error {
		mu.Lock()
		defer mu.Unlock()
		kind := "names"
		if strings.Contains(strings.Join(c.Argv, " "), "-d 1 -t snapshot") {
			kind = "lists"
		}
		for _, held := range c.Inherit {
			name, _, _ := strings.Cut(filepath.Base(held.Name()), "@")
			locks[kind+" "+strings.TrimSuffix(name, ".lock")]++
		}
		return command.Lines(ctx, c, each)
	}
	read := s.All(t.Context(), Targets{"fast": {"fast"}, "tank": {"tank"}})
	clear(locks)
	s.LookAtGuests(t.Context(), read, func(pools []checker.Pool) checker.Report { return assemble(pools...) })
	assert.ElementsMatch(t, []string{"names snapwatch-ask-fast", "lists snapwatch-list-fast", "lists snapwatch-list-tank"}, sortedKeys(locks))
}

// A cache entry about a guest is ignored if no scan can have written it. The scan then looks up the
// snapshots of the guest's disks.
func TestWhatIsRememberedOfGuestsMustMakeSense(t *testing.T) {
	for name, spoil := range map[string]func(*commonDisk){
		"no name of ours":   func(k *commonDisk) { k.Point.Name = "rep_1" },
		"no number":         func(k *commonDisk) { k.Point.GUID = "x" },
		"no guid":           func(k *commonDisk) { k.Point.GUID = "0" },
		"on some of them":   func(k *commonDisk) { k.Point = nil },
		"of several times":  func(k *commonDisk) { k.Point.Name = "autosnap_2020-01-01_00:00:00_hourly" },
		"made before there": func(k *commonDisk) { k.Point.Creation = time.Unix(0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			f := zfstest.New(t, twoPools([]zfstest.Snapshot{made(90*minute, "hourly", 1), made(minute, "hourly", 3)}, []zfstest.Snapshot{made(90*minute, "hourly", 2), made(hour, "hourly", 4)}))
			s := scanner(f)
			before, _ := guestsOf(t, f, s, "fast", "tank")
			for _, e := range s.Cache.guests.Commons {
				k := e.Disks["tank/vm-100-disk-1"]
				spoil(&k)
				e.Disks["tank/vm-100-disk-1"] = k
			}
			after, lists := guestsOf(t, f, nextProcess(t, s), "fast", "tank")
			assert.Equal(t, before, after)
			assert.Equal(t, 2, lists)
		})
	}
}

// keeps returns the snapshot s with the configuration of guest 100: with the whole text, or with a
// reference to the snapshot that has the text.
func keeps(s zfstest.Snapshot, whole bool, text string) zfstest.Snapshot {
	c := pve.Capture(pve.ID{Kind: pve.QEMU, VMID: 100}, "pve1", text, []pve.Storage{{Name: "zfs"}})
	s.Config = c.Reference()
	if whole {
		s.Config, _ = c.Value()
	}
	return s
}

// A guest's name in a kept configuration is cut if it is too long to print, like the name in an
// owner's answer: whoever can send to this host can choose the name.
func TestAKeptNameIsCut(t *testing.T) {
	kept := pve.Capture(pve.ID{Kind: pve.QEMU, VMID: 100}, "pve1", "name: "+strings.Repeat("x", 3000)+"\n", nil)
	name := newKeptConfig(kept).Name
	assert.Less(t, len(name), 110)
	assert.True(t, strings.HasPrefix(name, "xxx"))
}

// A guest's name comes from the configuration that the newest snapshot keeps or refers to. The scan
// looks up the name of a guest once a day. The scan lists all snapshots of a disk to find the
// guest's name only if the disk's newest snapshot refers to an unknown configuration.
func TestGuestsAreCalledAsTheirSnapshotsSay(t *testing.T) {
	const before, after = "name: web01\nscsi0: zfs:vm-100-disk-0\nscsi1: zfs:vm-100-disk-1,size=8G\nscsi2: lvm:vm-100-disk-0\nunused0: zfs:vm-100-disk-9\n", "name: web02\n"
	world := func(snapshots ...zfstest.Snapshot) zfstest.World {
		return zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), disk("tank/vm-100-disk-0", 100, snapshots...)}}
	}
	f := zfstest.New(t, world(keeps(made(26*hour, "daily", 1), true, before), keeps(made(25*hour, "hourly", 2), false, before)))
	s := scanner(f)
	asked := func() (names []string, lists int) {
		targets := Targets{"tank": {"tank"}}
		read := s.All(t.Context(), targets)
		f.Forget()
		r := assemble(s.LookAtGuests(t.Context(), read, func(pools []checker.Pool) checker.Report { return assemble(pools...) })...)
		for _, g := range r.Guests {
			names = append(names, g.Name)
		}
		for _, call := range f.Calls() {
			if strings.Contains(call, "-d 1 -t snapshot") {
				lists++
			}
		}
		return names, lists
	}
	names, lists := asked()
	assert.Equal(t, []string{"web01"}, names)
	assert.Equal(t, 1, lists, "the newest refers to another")
	k := s.Cache.guests.Configs["tank/vm-100-disk-0"].Config
	assert.Equal(t, []string{"zfs:vm-100-disk-0", "zfs:vm-100-disk-1"}, k.Volumes, "nothing of lvm is sent")
	assert.True(t, k.Since.Equal(ago(26*hour)))

	yesterday := nextProcess(t, s)
	s = nextProcess(t, s)
	names, lists = asked()
	assert.Equal(t, []string{"web01"}, names)
	assert.Zero(t, lists)
	assert.Empty(t, f.Calls(), "nothing changed")

	f.Set(world(keeps(made(26*hour, "daily", 1), true, before), keeps(made(minute, "daily", 3), true, before)))
	names, lists = asked()
	assert.Equal(t, []string{"web01"}, names)
	assert.Zero(t, lists)
	assert.True(t, s.Cache.guests.Configs["tank/vm-100-disk-0"].Config.Since.Equal(ago(26*hour)), "it is the same one")

	s = yesterday
	f.Set(world(keeps(made(26*hour, "daily", 1), true, before), keeps(made(minute, "daily", 3), true, after)))
	names, _ = asked()
	assert.Equal(t, []string{"web02"}, names, "another one is known, and does not count")

	s.Cache = NewCache()
	f.Set(world(keeps(made(minute, "daily", 3), true, after)))
	names, lists = asked()
	assert.Equal(t, []string{"web02"}, names)
	assert.Zero(t, lists, "the newest keeps it")

	s.Cache = NewCache()
	f.Set(world(made(minute, "daily", 3)))
	names, lists = asked()
	assert.Equal(t, []string{""}, names)
	assert.Zero(t, lists, "none is kept")

	s.Cache = NewCache()
	other := keeps(made(minute, "daily", 3), true, after)
	other.Config = strings.Repeat("x", 40)
	f.Set(world(other))
	names, _ = asked()
	assert.Equal(t, []string{""}, names, "what is none")
}

const twoDisks = "name: web01\nscsi0: zfs:vm-100-disk-0\nscsi1: zfs:vm-100-disk-1,size=8G\n"

// volumesOf returns the volumes that guest 100 uses according to the configuration kept with the
// snapshots of its only disk.
func volumesOf(t *testing.T, f *zfstest.Fake, s Scanner, snapshots ...zfstest.Snapshot) []string {
	t.Helper()
	f.Set(zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), disk("tank/vm-100-disk-0", 100, snapshots...)}})
	read := s.LookAtGuests(t.Context(), s.All(t.Context(), Targets{"tank": {"tank"}}), func(pools []checker.Pool) checker.Report { return assemble(pools...) })
	require.NotNil(t, read[0].Disks[0].Looked)
	require.NotNil(t, read[0].Disks[0].Looked.Config)
	return read[0].Disks[0].Looked.Config.Volumes
}

// If a disk's newest snapshot refers to a guest configuration that was not sent to this host, the
// scan uses the last configuration that was sent, with and without the cache.
func TestAReferenceToAConfigurationThatWasNotSent(t *testing.T) {
	before := []zfstest.Snapshot{keeps(made(26*hour, "daily", 1), true, twoDisks), keeps(made(25*hour, "daily", 2), true, twoDisks)}
	after := append(slices.Clone(before), keeps(made(minute, "hourly", 3), false, twoDisks+"memory: 4096\n"))
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}})
	s := scanner(f)
	both := []string{"zfs:vm-100-disk-0", "zfs:vm-100-disk-1"}
	assert.Equal(t, both, volumesOf(t, f, s, before...))
	assert.Equal(t, both, volumesOf(t, f, s, after...))
	assert.Equal(t, both, volumesOf(t, f, scanner(f), after...))
}

// The scan uses a guest configuration as long as a snapshot on this host keeps this configuration.
func TestAConfigurationThatNothingKeepsIsForgotten(t *testing.T) {
	kept := keeps(made(26*hour, "daily", 1), true, twoDisks)
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}})
	s := scanner(f)
	assert.Len(t, volumesOf(t, f, s, kept), 2)
	s = nextProcess(t, s)
	assert.Len(t, volumesOf(t, f, s, kept, made(hour, "hourly", 5)), 2, "it is kept still")
	s.Cache.guests.Configs["tank/vm-100-disk-0"] = yesterday(s.Cache.guests.Configs["tank/vm-100-disk-0"])
	assert.Empty(t, volumesOf(t, f, s, made(hour, "daily", 5), made(minute, "hourly", 6)))
}

// yesterday returns a cache entry as if the scan of the day before had made it.
func yesterday(e configEntry) configEntry {
	e.Config.Day = "2026-03-28"
	return e
}
