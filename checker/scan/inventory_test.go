package scan

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

func seenOf(pools ...checker.Pool) Inventory {
	s, _ := Inventory{}.Updated(pools, now)
	return s
}

func tankWith(datasets ...string) checker.Pool {
	p := checker.Pool{Name: "tank", ReadAt: now}
	for i, name := range datasets {
		p.Disks = append(p.Disks, checker.Disk{Dataset: name, GUID: uint64(100 + i), ReadAt: now, Newest: managed(zfs.Hourly, 0)})
	}
	return p
}

var wholeTank = Targets{"tank": {"tank"}}

func TestADiskThatIsGoneIsMissing(t *testing.T) {
	seen := seenOf(tankWith("tank/vm-1-disk-0", "tank/vm-2-disk-0"))
	suspended := "pool tank is suspended"
	for name, c := range map[string]struct {
		pool    checker.Pool
		targets Targets
		want    map[string]checker.Verdict
	}{
		"one is gone":        {tankWith("tank/vm-1-disk-0"), wholeTank, map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Fresh, "tank/vm-2-disk-0": checker.Missing}},
		"all are":            {tankWith(), wholeTank, map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Missing, "tank/vm-2-disk-0": checker.Missing}},
		"the pool is":        {checker.Pool{Name: "tank", Missing: true, Problem: "not imported"}, wholeTank, map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Missing, "tank/vm-2-disk-0": checker.Missing}},
		"unreadable":         {checker.Pool{Name: "tank", Problem: suspended}, wholeTank, map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Unreadable, "tank/vm-2-disk-0": checker.Unreadable}},
		"no longer searched": {tankWith(), Targets{"tank": {"tank/other"}}, map[string]checker.Verdict{}},
		"gone when last read, unreadable now": {
			func() checker.Pool { p := tankWith("tank/vm-1-disk-0"); p.Problem = suspended; return p }(), wholeTank,
			map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Fresh, "tank/vm-2-disk-0": checker.Missing},
		},
		"renamed": {
			func() checker.Pool { p := tankWith("tank/vm-1-disk-0", "tank/new/vm-2-disk-0"); return p }(), wholeTank,
			map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Fresh, "tank/new/vm-2-disk-0": checker.Fresh},
		},
		"made again": {
			func() checker.Pool {
				p := tankWith("tank/vm-1-disk-0", "tank/vm-2-disk-0")
				p.Disks[1].GUID = 999
				return p
			}(), wholeTank,
			map[string]checker.Verdict{"tank/vm-1-disk-0": checker.Fresh, "tank/vm-2-disk-0": checker.Fresh},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pools := []checker.Pool{c.pool}
			seen.Recall(pools, c.targets)
			got := map[string]checker.Verdict{}
			for _, d := range assemble(pools...).Disks {
				got[d.Dataset] = d.Verdict
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestWhatIsSeenIsWrittenOnlyWhenItChanges(t *testing.T) {
	s := Inventory{}
	p := tankWith("tank/vm-1-disk-0", "tank/vm-2-disk-0")
	update := func(p checker.Pool) (changed bool) {
		before, held := maps.Clone(s.Disks), s
		s, changed = s.Updated([]checker.Pool{p}, now)
		assert.Equal(t, before, held.Disks, "others may read the one of before")
		return changed
	}
	assert.True(t, update(p))
	assert.False(t, update(p))
	assert.False(t, update(tankWith("tank/vm-1-disk-0")), "what is gone stays")
	p.Disks[1].Dataset = "tank/b/vm-2-disk-0"
	assert.True(t, update(p), "what is renamed moves")
	assert.Equal(t, []string{"tank/b/vm-2-disk-0", "tank/vm-1-disk-0"}, sortedKeys(s.Disks))
	assert.False(t, update(checker.Pool{Name: "tank", Problem: "x"}), "a failed scan says nothing")
}

func TestSeenOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	none, err := LoadInventory(path)
	require.NoError(t, err)
	assert.Nil(t, none.Disks)

	s := seenOf(tankWith("tank/vm-1-disk-0"))
	require.NoError(t, s.Save(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode(), "check runs as another user")
	back, err := LoadInventory(path)
	require.NoError(t, err)
	assert.Equal(t, s.Disks["tank/vm-1-disk-0"].GUID, back.Disks["tank/vm-1-disk-0"].GUID)

	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"disks":{"tank/../x":{}}}`, `{"version":1,"disks":{"tank/data":{}}}`, "null\x00"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := LoadInventory(path)
		assert.ErrorIs(t, err, ErrDamaged, text)
	}
}

func TestTargets(t *testing.T) {
	seen := Inventory{Disks: map[string]KnownDisk{"old/vm-1-disk-0": {}, "drei/vm-1-disk-0": {Pool: 7}, "lost/vm-1-disk-0": {Pool: 8}}}
	for name, c := range map[string]struct {
		config config.Config
		want   Targets
	}{
		"nothing said":      {config.Config{}, Targets{"rpool": {"rpool"}, "tank": {"tank"}, "old": {"old"}, "lost": {"lost"}}},
		"pools":             {config.Config{Pools: []string{"p"}}, Targets{"p": {"p"}, "rpool": {"rpool"}, "tank": {"tank"}, "old": {"old"}, "lost": {"lost"}}},
		"datasets":          {config.Config{Datasets: []string{"tank/b", "tank/a", "tank/a/c", "tank/ab"}}, Targets{"tank": {"tank/a", "tank/ab", "tank/b"}}},
		"datasets and pool": {config.Config{Datasets: []string{"tank"}, Pools: []string{"tank", "p"}}, Targets{"tank": {"tank"}, "p": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, NewTargets(c.config, Imported{"rpool": 1, "tank": 7}, seen))
		})
	}
}

// poolReadAt returns a pool that was read at the given time and has one disk; pool and guid are the
// guids of the pool and of the disk.
func poolReadAt(read time.Time, name string, pool, guid uint64) checker.Pool {
	d := checker.Disk{Dataset: name + "/vm-1-disk-0", GUID: guid, ReadAt: read, Newest: managed(zfs.Hourly, 0)}
	return checker.Pool{Name: name, GUID: pool, ReadAt: read, Disks: []checker.Disk{d}}
}

func lostPool(name string) checker.Pool {
	return checker.Pool{Name: name, Missing: true, Problem: "not imported"}
}

// A disk with a known guid and a new name counts as renamed only if this reading also covered the
// dataset of its old name, or if the disk's pool has another name now.
func TestWhatIsRenamed(t *testing.T) {
	seen, _ := Inventory{}.Updated([]checker.Pool{poolReadAt(now, "third", 7, 5)}, now)
	empty := checker.Pool{Name: "third", GUID: 7, ReadAt: now}
	unread := checker.Pool{Name: "third", Problem: "suspended"}
	for name, c := range map[string]struct {
		pools  []checker.Pool
		missed bool
	}{
		"imported under another name":             {[]checker.Pool{poolReadAt(now, "drei", 7, 5)}, false},
		"and the old name is asked for":           {[]checker.Pool{poolReadAt(now, "drei", 7, 5), lostPool("third")}, false},
		"split off, and the first is lost":        {[]checker.Pool{poolReadAt(now, "drei", 8, 5), lostPool("third")}, true},
		"split off, and the first cannot be read": {[]checker.Pool{poolReadAt(now, "drei", 8, 5), unread}, true},
		"split off, and gone from the first":      {[]checker.Pool{poolReadAt(now, "drei", 8, 5), empty}, true},
		"split off":                               {[]checker.Pool{poolReadAt(now, "drei", 8, 5), poolReadAt(now, "third", 7, 5)}, false},
		"a ZFS that does not tell":                {[]checker.Pool{poolReadAt(now, "drei", 0, 5), lostPool("third")}, true},
		"another disk":                            {[]checker.Pool{poolReadAt(now, "drei", 7, 6), empty}, true},
	} {
		t.Run(name, func(t *testing.T) {
			pools := slices.Clone(c.pools)
			kept, _ := seen.Updated(pools, now)
			seen.Recall(pools, Targets{"third": {"third"}, "drei": {"drei"}})
			missed := false
			for _, p := range pools {
				for _, d := range p.Disks {
					missed = missed || d.Gone || d.Problem != ""
				}
			}
			_, known := kept.Disks["third/vm-1-disk-0"]
			if _, old := kept.Disks["drei/vm-1-disk-0"]; !slices.ContainsFunc(pools, func(p checker.Pool) bool {
				return p.Name == "third" && !p.Missing && p.Problem == "" && len(p.Disks) == 0
			}) {
				assert.True(t, old, "what is there is remembered")
			}
			if slices.ContainsFunc(pools, func(p checker.Pool) bool { return p.Name == "third" }) || !known {
				assert.Equal(t, c.missed, missed)
			}
			if c.missed {
				assert.True(t, known, "it stays")
			}
		})
	}
	// The pool third is imported under another name, and later under its old name again.
	there, _ := seen.Updated([]checker.Pool{poolReadAt(now.Add(hour), "drei", 7, 5)}, now.Add(hour))
	assert.Equal(t, []string{"drei/vm-1-disk-0"}, sortedKeys(there.Disks))
	assert.Equal(t, []string{"third"}, NewTargets(config.Config{}, Imported{"third": 7}, there).Pools(), "the old name is not missed by who only reads the memory")
	back, _ := there.Updated([]checker.Pool{poolReadAt(now.Add(2*hour), "third", 7, 5)}, now.Add(2*hour))
	assert.Equal(t, []string{"third/vm-1-disk-0"}, sortedKeys(back.Disks))
}

// While some datasets of a pool cannot be read, the inventory is still updated with the pool's
// other disks: the inventory adds a new disk, knows a renamed disk only by its new name, and keeps
// a disk that was not read.
func TestWhatIsReadBesideAFault(t *testing.T) {
	const renamed, unseen = "tank/vm-2-disk-0", "tank/vm-3-disk-0"
	before := tankWith("tank/vm-1-disk-0", renamed, unseen)
	later := now.Add(hour)
	partly := func(at time.Time) checker.Pool {
		p := tankWith("tank/vm-1-disk-0", "tank/new/vm-2-disk-0")
		p.ReadAt, p.Problem = time.Time{}, "cannot open 'tank/x': I/O error"
		p.Disks = append(p.Disks, checker.Disk{Dataset: "tank/vm-4-disk-0", GUID: 104, Newest: managed(zfs.Hourly, 0)})
		for i := range p.Disks {
			p.Disks[i].ReadAt = at
		}
		return p
	}
	seen, changed := seenOf(before).Updated([]checker.Pool{partly(later)}, later)
	assert.True(t, changed)
	assert.Equal(t, []string{"tank/new/vm-2-disk-0", "tank/vm-1-disk-0", unseen, "tank/vm-4-disk-0"}, sortedKeys(seen.Disks))
	assert.Equal(t, later, seen.Disks["tank/vm-4-disk-0"].Since)
	_, changed = seen.Updated([]checker.Pool{partly(later.Add(hour))}, later.Add(hour))
	assert.False(t, changed)

	pools := []checker.Pool{partly(later)}
	seenOf(before).Recall(pools, wholeTank)
	assert.Equal(t, []string{"tank/vm-1-disk-0", "tank/new/vm-2-disk-0", "tank/vm-4-disk-0", unseen}, datasetsOf(pools[0]))
	assert.NotEmpty(t, pools[0].Disks[3].Problem)

	// A reading of the pool that is older than the disk's entry does not rename the disk. A reading
	// of the pool that began before `snapwatch forget` removed the disk does not add the disk to
	// the inventory again.
	early := now.Add(-hour)
	same, _ := Inventory{Disks: seenOf(before).Disks, Forgotten: map[string]time.Time{"tank/vm-4-disk-0": now}}.Updated([]checker.Pool{partly(early)}, now)
	assert.Contains(t, same.Disks, renamed)
	assert.NotContains(t, same.Disks, "tank/vm-4-disk-0")

	// A disk that appeared after the last complete reading of the pool does not count as gone if an
	// incomplete reading does not find it: only a complete reading could prove that the disk is gone.
	pool := tankWith("tank/vm-1-disk-0")
	pool.Problem = "cannot open 'tank/x': I/O error"
	pools = []checker.Pool{pool}
	seen.Recall(pools, wholeTank)
	for _, d := range pools[0].Disks[1:] {
		assert.Equal(t, d.Dataset == unseen, d.Gone, d.Dataset)
		assert.Equal(t, d.Dataset != unseen, d.Problem != "", d.Dataset)
	}
	// When a complete reading of the pool does not find the disk, the disk is missing.
	pool = tankWith("tank/vm-1-disk-0")
	pool.ReadAt = later.Add(hour)
	pools = []checker.Pool{pool}
	seen.Recall(pools, wholeTank)
	require.Len(t, pools[0].Disks, 4)
	assert.True(t, pools[0].Disks[3].Gone)
}

func datasetsOf(pool checker.Pool) (names []string) {
	for _, d := range pool.Disks {
		names = append(names, d.Dataset)
	}
	return names
}

// If a disk is gone when its pool is imported under another name, the disk is missing under its
// name in the renamed pool. A process that only reads the inventory must see this, too. If somebody
// forgot a disk of the new name before the pool was renamed, the disk in the renamed pool is not
// forgotten.
func TestAPoolIsRenamedWhileADiskIsGone(t *testing.T) {
	p := poolReadAt(now, "third", 7, 5)
	p.Disks = append(p.Disks, checker.Disk{Dataset: "third/a/vm-2-disk-0", GUID: 6, ReadAt: now, Newest: managed(zfs.Hourly, 0)})
	seen, _ := Inventory{Forgotten: map[string]time.Time{"drei": now}}.Updated([]checker.Pool{p}, now)
	later := now.Add(hour)
	read := []checker.Pool{poolReadAt(later, "drei", 7, 5)}
	targets := NewTargets(config.Config{}, Imported{"drei": 7}, seen)
	missing := func(s Inventory) (names []string) {
		pools := slices.Clone(read)
		s.With(Inventory{}, later).Recall(pools, targets)
		for _, d := range pools[0].Disks {
			if d.Gone {
				names = append(names, d.Dataset)
			}
		}
		return names
	}
	assert.Equal(t, []string{"drei/a/vm-2-disk-0"}, missing(seen))
	updated, changed := seen.Updated(read, later)
	assert.True(t, changed)
	assert.Equal(t, []string{"drei/a/vm-2-disk-0", "drei/vm-1-disk-0"}, sortedKeys(updated.Disks))
	assert.Equal(t, []string{"drei/a/vm-2-disk-0"}, missing(updated))
	forgotten, n := updated.Forget("drei/a/vm-2-disk-0", later.Add(minute))
	assert.Equal(t, 1, n)
	assert.Empty(t, missing(forgotten))
	_, changed = updated.Updated(read, later)
	assert.False(t, changed)
}

// After zfs promote moved a copy's snapshots to a clone, the copy must be reported, because it
// receives no snapshots any more. The copy must not be mistaken for a clone that somebody made to
// try something.
func TestACopyWhoseSnapshotsWerePromotedAway(t *testing.T) {
	p := poolReadAt(now, "tank", 1, 5)
	seen, _ := Inventory{}.Updated([]checker.Pool{p}, now)
	later := poolReadAt(now.Add(day), "tank", 1, 5)
	d := &later.Disks[0]
	d.Newest, d.Origin, d.Owned, d.Created = nil, "tank/test/vm-1-disk-0@"+hourly, checker.NotOwned, now.Add(-day)
	verdict := func(guid uint64) checker.Verdict {
		d.GUID = guid
		pools := []checker.Pool{later}
		seen.Recall(pools, wholeTank)
		assert.False(t, later.Disks[0].WasWhole, "others read that list")
		return assemble(pools...).Disks[0].Verdict
	}
	assert.Equal(t, checker.Never, verdict(5))
	assert.Equal(t, checker.Excluded, verdict(6), "a clone in its place")
}

// A disk was forgotten while the host's clock was ahead. When the wrong time is the present time,
// the inventory must not forget other disks.
func TestForgottenWhileTheClockWasAhead(t *testing.T) {
	s, _ := Inventory{}.Updated([]checker.Pool{poolReadAt(now, "tank", 1, 5)}, now)
	s, _ = s.Forget("tank", now.Add(30*day))
	s, changed := s.Updated([]checker.Pool{poolReadAt(now.Add(day), "tank", 1, 5)}, now.Add(day))
	assert.True(t, changed)
	assert.Len(t, s.With(Inventory{}, now.Add(31*day)).Disks, 1)
	s, _ = s.Forget("tank", now.Add(day+time.Second))
	assert.Len(t, s.With(Inventory{}, now.Add(day)).Forgotten, 1, "another process has just forgotten it")
}

// Only a reading of the pool that began after a disk was forgotten may add the disk to an inventory
// again.
func TestWhatIsForgottenStaysSo(t *testing.T) {
	read, forgotten := now, now.Add(time.Second)
	exporters, _ := Inventory{}.Updated([]checker.Pool{poolReadAt(read, "tank", 1, 5)}, now)
	checks, _ := Inventory{}.Updated([]checker.Pool{poolReadAt(read, "tank", 1, 5)}, now)
	exporters, n := exporters.Forget("tank", forgotten)
	assert.Equal(t, 1, n)
	later := now.Add(minute)
	again, changed := exporters.Updated([]checker.Pool{poolReadAt(read, "tank", 1, 5)}, later)
	assert.False(t, changed, "it was read before")
	assert.Empty(t, again.Disks)
	assert.Empty(t, checks.With(Inventory{Forgotten: exporters.Forgotten}, later).Disks, "another memory hears of it")
	slow, _ := checks.With(exporters, later).Updated([]checker.Pool{poolReadAt(read, "tank", 1, 5)}, later)
	assert.Empty(t, slow.Disks)

	made := forgotten.Add(time.Second)
	again, _ = exporters.Updated([]checker.Pool{poolReadAt(made, "tank", 1, 6)}, later)
	assert.Equal(t, uint64(6), again.Disks["tank/vm-1-disk-0"].GUID)
	assert.Len(t, again.With(exporters, later).Disks, 1)
	stale, changed := again.Updated([]checker.Pool{poolReadAt(read, "tank", 1, 5)}, later)
	assert.False(t, changed, "what is known is changed by nothing that was read before")
	assert.Equal(t, again, stale)

	_, n = again.Forget("elsewhere", later)
	assert.Zero(t, n)
	ahead, _ := Inventory{}.Forget("tank", now.Add(day))
	ahead, _ = ahead.Updated([]checker.Pool{poolReadAt(now, "tank", 1, 5)}, now)
	assert.Len(t, ahead.Disks, 1, "a clock that was ahead")
}

// Only a disk whose first receive was finished is reported as missing.
func TestAFirstReceiveIsNotRemembered(t *testing.T) {
	p := poolReadAt(now, "tank", 1, 5)
	p.Disks[0].Newest, p.Disks[0].Receiving = nil, true
	q := poolReadAt(now, "third", 1, 6)
	q.Disks[0].Newest, q.Disks[0].Origin = nil, "third/vm-2-disk-0@x" // a clone of a copy, made for a trial
	seen, changed := Inventory{Disks: map[string]KnownDisk{}}.Updated([]checker.Pool{p, q}, now)
	assert.False(t, changed)
	assert.Empty(t, seen.Disks)
}

// An inventory file with damaged content is renamed, and reported for a day. An inventory file that
// cannot be read is left unchanged.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	require.NoError(t, seenOf(tankWith("tank/vm-1-disk-0")).Save(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)/2], 0o600))
	s, err := Reopen(path, now)
	require.NoError(t, err)
	assert.Nil(t, s.Disks)
	assert.FileExists(t, path+".broken")
	require.NoError(t, s.Save(path))
	s, err = Reopen(path, now.Add(hour))
	require.NoError(t, err)
	notes := s.Notes(now.Add(23 * hour))
	require.Len(t, notes, 1)
	assert.Equal(t, checker.Warning, notes[0].State)
	assert.Contains(t, notes[0].Text, "disks that were gone before 2026-03-29 12:00:00 are not missed: disks seen before, "+path+" is damaged: ")
	assert.Contains(t, notes[0].Text, "it is kept as "+path+".broken")
	assert.Empty(t, s.Notes(now.Add(25*hour)))

	require.NoError(t, os.Chmod(path, 0o666))
	_, err = Reopen(path, now)
	require.ErrorContains(t, err, "can be written by others than its owner")
	require.NotErrorIs(t, err, ErrDamaged)
	_, err = LoadInventory(path)
	require.NoError(t, err, "whoever only reads it")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700)) // read(2) fails, as after EIO
	_, err = Reopen(path, now)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrDamaged)
	assert.DirExists(t, path)
}

func TestCacheOnDisk(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	path := filepath.Join(t.TempDir(), "newest.json")
	s := scanner(f)
	want := scan(t, s)
	require.True(t, s.Cache.Unsaved())
	require.NoError(t, s.Cache.Save(path))
	assert.False(t, s.Cache.Unsaved())

	again := func(w zfstest.World) (p checker.Pool, calls int, unsaved bool) {
		f.Set(w)
		f.Forget()
		s := scanner(f)
		var err error
		s.Cache, err = LoadCache(path)
		require.NoError(t, err)
		p = scan(t, s)
		require.Empty(t, p.Problem)
		return p, len(f.Calls()), s.Cache.Unsaved()
	}
	p, calls, unsaved := again(plainWorld())
	assert.Equal(t, want.Disks, p.Disks)
	assert.Equal(t, 1, calls, "nothing changed: the heads only")
	assert.False(t, unsaved, "nothing new to write")

	for name, change := range map[string]func(*zfstest.Dataset){
		"the newest is another":    func(d *zfstest.Dataset) { d.Snapshots[1].Name = "autosnap_2026-03-29_11:15:00_frequently" },
		"its name was given again": func(d *zfstest.Dataset) { d.Snapshots[1].GUID, d.Changed = 77, d.Changed+1 },
		"the dataset is another":   func(d *zfstest.Dataset) { d.GUID = 77 },
		"its origin is another":    func(d *zfstest.Dataset) { d.Origin = "tank/x@y" },
	} {
		t.Run(name, func(t *testing.T) {
			w := plainWorld()
			change(&w.Datasets[2])
			p, calls, unsaved := again(w)
			at := slices.IndexFunc(p.Disks, func(d checker.Disk) bool { return d.Dataset == w.Datasets[2].Name })
			require.NotNil(t, p.Disks[at].Newest)
			assert.Equal(t, w.Datasets[2].Snapshots[1].GUID, p.Disks[at].Newest.GUID)
			assert.Equal(t, w.Datasets[2].Snapshots[1].Name, p.Disks[at].Newest.Name)
			assert.Equal(t, 2, calls, "%q", f.Calls())
			assert.True(t, unsaved)
		})
	}

	t.Run("changed a moment ago", func(t *testing.T) {
		w := plainWorld()
		w.Datasets[2].Changed = now.Unix() - 1
		s := scanner(f)
		f.Set(w)
		scan(t, s)
		require.NoError(t, s.Cache.Save(path))
		_, calls, _ := again(w)
		assert.Equal(t, 2, calls, "what its name stands for may change in that second")
	})
}

// A cache file from an old version of snapwatch has only the names of newest snapshots; the scan
// looks up these snapshots again, because the names may be wrong.
func TestCacheOfNames(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	path := filepath.Join(t.TempDir(), "newest.json")
	s := scanner(f)
	want := scan(t, s)
	for name, k := range s.Cache.newest {
		k.snapshot = nil
		s.Cache.newest[name] = k
	}
	require.NoError(t, s.Cache.Save(path))
	load := func() Scanner {
		s := scanner(f)
		var err error
		s.Cache, err = LoadCache(path)
		require.NoError(t, err)
		f.Forget()
		return s
	}
	s = load()
	assert.Equal(t, want.Disks, scan(t, s).Disks)
	assert.Len(t, f.Calls(), 2, "heads and a lookup, no list: %q", f.Calls())
	assert.True(t, s.Cache.Unsaved(), "now more is known")

	// The snapshot whose name is in the cache does not exist any more.
	w := plainWorld()
	w.Datasets[3].Snapshots[0].Name = older
	f.Set(w)
	p := scan(t, load())
	require.Empty(t, p.Problem)
	assert.Equal(t, older, p.Disks[1].Newest.Name)
	assert.Empty(t, p.Disks[1].Problem)
}

func TestCacheThatCannotBeUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "newest.json")
	_, err := LoadCache(path)
	require.NoError(t, err)
	line := func(more string) string {
		return `{"version":1,"newest":{"tank/vm-1-disk-0":{"guid":"1","snapshots_changed":9` + more + `}}}`
	}
	for _, text := range []string{
		"", "[]", `{"version":9}`, line(`,"newest_managed":"x"`),
		line(`,"newest_managed":"` + hourly + `","snapshot":{"name":"` + hourly + `","guid":"7"}`),
		line(`,"newest_managed":"` + hourly + `","snapshot":{"name":"` + hourly + `","guid":"7","createtxg":"8","creation":-1}`),
		line(`,"newest_managed":"` + hourly + `","snapshot":{"name":"` + hourly + `","guid":"7","createtxg":"8","creation":"1969-12-31T23:59:59Z"}`),
		line(`,"newest_managed":"` + hourly + `","snapshot":{"name":"` + hourly + `","guid":"0","createtxg":"8","creation":"2026-03-29T09:00:00Z"}`),
		line(`,"newest_managed":"` + hourly + `","snapshot":{"name":"` + older + `","guid":"7","createtxg":"8","creation":"2026-03-29T09:00:00Z"}`),
		line(`,"snapshot":{"name":"` + hourly + `","guid":"7","createtxg":"8","creation":"2026-03-29T09:00:00Z"}`),
		line(`,"newest_of_any":"` + hourly + `","newest_managed":"` + older + `"`),
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		m, err := LoadCache(path)
		require.ErrorContains(t, err, "ignored", text)
		assert.NotNil(t, m)
		assert.Empty(t, m.newest)
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.WriteFile(path, []byte(`{"version":1}`), 0o600))
		require.NoError(t, os.Chown(path, 65534, 65534))
		_, err := LoadCache(path)
		assert.ErrorContains(t, err, "belongs to user 65534")
	}
}

func TestCacheForgetsWhatIsGone(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	s := scanner(f)
	scan(t, s)
	assert.Contains(t, s.Cache.newest, "tank/vm-100-disk-0")
	w := plainWorld()
	w.Datasets = w.Datasets[:2]
	f.Set(w)
	scan(t, s)
	assert.Empty(t, s.Cache.newest)
}
