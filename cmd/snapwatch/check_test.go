package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/report"
	"snapwatch/internal/zfstest"
)

// site is a host with copies of disks and a fake zfs.
type site struct {
	*environment
	fake   *zfstest.Fake
	out    bytes.Buffer
	errors bytes.Buffer
	seen   string
}

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func newSite(t *testing.T, disks ...zfstest.Dataset) *site {
	t.Helper()
	pools := []zfstest.Dataset{{Name: "tank", GUID: 1, Labels: map[string][3]string{"available": {"21474836480", "-", "-"}}}}
	s := &site{fake: zfstest.New(t, zfstest.World{Datasets: append(pools, disks...)})}
	t.Setenv("XDG_CACHE_HOME", s.fake.Path("cache"))
	s.seen = s.fake.Path("seen.json")
	s.environment = &environment{
		Stdout: &s.out, Stderr: &s.errors, Now: func() time.Time { return noon },
		ConfigPath: s.fake.Path("config.yaml"), Kstat: s.fake.Kstat, LockDir: s.fake.LockDir, StateDir: s.fake.Path("state"),
	}
	return s
}

// check runs snapwatch check and returns its exit status and first line.
func (s *site) check(args ...string) (status int, first string) {
	s.out.Reset()
	s.errors.Reset()
	status = execute(append([]string{"check", "--seen", s.seen}, args...), s.environment)
	first, _, _ = strings.Cut(s.out.String(), "\n")
	return status, first
}

func vm(id int, class string, age time.Duration) zfstest.Dataset {
	at := noon.Add(-age)
	return zfstest.Dataset{
		Name: fmt.Sprintf("tank/vm-%d-disk-0", id), GUID: uint64(id), Creation: 1, Changed: 1,
		Snapshots: []zfstest.Snapshot{{
			Name: "autosnap_" + at.Format("2006-01-02_15:04:05") + "_" + class, GUID: 1, TXG: 1, Creation: at.Unix(),
		}},
	}
}

func TestCheckExitStatus(t *testing.T) {
	fresh, stopped := vm(100, "hourly", time.Hour), vm(101, "stopped", 48*time.Hour)
	for name, c := range map[string]struct {
		disks  []zfstest.Dataset
		args   string
		status int
		first  string
	}{
		"ok":                  {[]zfstest.Dataset{fresh, stopped}, "", 0, "OK: 1 of 2 guests whole, 1 of 2 disks fresh, oldest vm-100-disk-0 1h (limit 2h); 1 stopped (unproven) | 'oldest_age'=3600s;"},
		"warning":             {[]zfstest.Dataset{vm(100, "hourly", 3*time.Hour), stopped}, "", 1, "WARNING: 1 of 2 guests stale, 1 of 2 disks stale, oldest vm-100-disk-0 3h (limit 2h); 1 stopped (unproven) | "},
		"critical":            {[]zfstest.Dataset{fresh, vm(102, "daily", 7*time.Hour)}, "", 2, "CRITICAL: 1 of 2 guests stale, 1 of 2 disks stale, oldest vm-102-disk-0 7h (limit 6h) | "},
		"nothing":             {nil, "", 3, "UNKNOWN: no disk found | "},
		"-w":                  {[]zfstest.Dataset{fresh}, "-w 30m", 1, "WARNING: "},
		"-w in seconds":       {[]zfstest.Dataset{fresh}, "-w 1800 -c 3599", 2, "CRITICAL: "},
		"-w range":            {[]zfstest.Dataset{fresh}, "-w @0:1h -c ~:", 1, "WARNING: "},
		"--warning=":          {[]zfstest.Dataset{fresh}, "--warning=1h --critical=1d12h", 0, "OK: "},
		"c before w":          {[]zfstest.Dataset{fresh}, "-w 2h -c 1h", 3, "UNKNOWN: the critical limit (1h, -c) is lower than the warning limit (2h, -w)"},
		"w beyond default c":  {[]zfstest.Dataset{fresh}, "-w 1d", 3, "UNKNOWN: the critical limit (6h, limits.critical) is lower than the warning limit (1d, -w)"},
		"no threshold":        {[]zfstest.Dataset{fresh}, "-w 20:10", 3, "UNKNOWN: "},
		"empty threshold":     {[]zfstest.Dataset{fresh}, "--warning=", 3, "UNKNOWN: "},
		"unknown flag":        {[]zfstest.Dataset{fresh}, "--nonsense", 3, "UNKNOWN: unknown flag --nonsense"},
		"word too many":       {[]zfstest.Dataset{fresh}, "tank", 3, "UNKNOWN: unexpected argument tank"},
		"no time":             {[]zfstest.Dataset{fresh}, "-t 0", 3, "UNKNOWN: "},
		"help":                {[]zfstest.Dataset{fresh}, "--help", 3, "Usage: snapwatch check"},
		"-h":                  {[]zfstest.Dataset{fresh}, "-h", 3, "Usage: snapwatch check"},
		"-V":                  {[]zfstest.Dataset{fresh}, "-V", 3, "devel"},
		"timeout in seconds":  {[]zfstest.Dataset{fresh}, "-t 8", 0, "OK: "},
		"one guest":           {[]zfstest.Dataset{fresh, vm(102, "daily", 7*time.Hour)}, "--vmid 100", 0, "OK: 1 of 1 guests whole, 1 of 1 disks fresh"},
		"a guest":             {[]zfstest.Dataset{fresh, vm(102, "daily", 7*time.Hour)}, "--guest 102", 2, "CRITICAL: 1 of 1 guests stale, 1 of 1 disks stale"},
		"no such name":        {[]zfstest.Dataset{fresh}, "--guest web01", 3, "UNKNOWN: no disk matches --guest \"web01\""},
		"no guest of a name":  {[]zfstest.Dataset{fresh}, "--vmid 100 --vmid 7", 3, "UNKNOWN: no disk matches --vmid 7"},
		"by name":             {[]zfstest.Dataset{fresh, stopped}, "--disk vm-100-*", 0, "OK: 1 of 1 disks fresh"},
		"a pool that is not":  {[]zfstest.Dataset{fresh}, "--pool tnak", 2, "CRITICAL: pool tnak missing"},
		"quiet":               {[]zfstest.Dataset{fresh}, "--quiet", 0, ""},
		"quiet, not well":     {[]zfstest.Dataset{fresh}, "-q -w 1", 1, "WARNING: "},
		"checkmk":             {[]zfstest.Dataset{fresh}, "--format checkmk", 0, `0 "snapwatch tank" oldest_age=3600;7200;21600|disks=1|`},
		"table":               {[]zfstest.Dataset{fresh}, "--format=table", 0, "OK: "},
		"no such format":      {[]zfstest.Dataset{fresh}, "--format xml", 3, "UNKNOWN: "},
		"no such config":      {[]zfstest.Dataset{fresh}, "--config /nonexistent", 3, "UNKNOWN: config: open /nonexistent"},
		"no exporter":         {[]zfstest.Dataset{fresh}, "--from http://127.0.0.1:1", 3, "UNKNOWN: exporter http://127.0.0.1:1: "},
		"usage error, json":   {[]zfstest.Dataset{fresh}, "-w 2h -c 1h --format json", 3, "{"},
		"json":                {[]zfstest.Dataset{fresh}, "--format json", 0, "{"},
		"commands run":        {[]zfstest.Dataset{fresh}, "-vvv", 0, "OK: "},
		"each disk, perfdata": {[]zfstest.Dataset{fresh}, "--perfdata disks", 0, "OK: 1 of 1 guests whole, 1 of 1 disks fresh, oldest vm-100-disk-0 1h (limit 2h) | 'oldest_age'=3600s;7200;21600;0 'guests'=1;;;0 'incomplete'=0;;;0 'torn'=0;;;0 'disks'=1;;;0 'stopped'=0;;;0 'unproven'=0;;;0 'stale'=0;;;0 'missing'=0;;;0 'fill_tank'=25%;80;90;0 'tank/vm-100-disk-0'=3600s;7200;21600;0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.disks...)
			status, first := s.check(strings.Fields(c.args)...)
			assert.Equal(t, c.status, status, s.out.String())
			assert.True(t, strings.HasPrefix(first, c.first), "%q", first)
			assert.Empty(t, s.errors.String())
			if name == "commands run" {
				assert.Contains(t, s.out.String(), "note: ran zfs get -Hp -r -t filesystem,volume")
			}
		})
	}
}

func TestCheckAnswersInTimeWhileZFSHangs(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	w := zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}}, Faults: []zfstest.Fault{{Words: []string{"get"}, Hang: true}}}
	s.fake.Set(w)
	for i := range 3 {
		begun := time.Now()
		status, first := s.check("-t", "2s")
		assert.Equal(t, 3, status)
		first, _, _ = strings.Cut(first, " 'fill_tank'=") // in this test only zfs hangs, so the fill level is still printed
		assert.Equal(t, "UNKNOWN: pool tank unreadable, no disk found | 'guests'=0;;;0 'incomplete'=0;;;0 'torn'=0;;;0 'disks'=0;;;0 'stopped'=0;;;0 'unproven'=0;;;0 'stale'=0;;;0 'missing'=0;;;0", first)
		assert.Less(t, time.Since(begun), 6*time.Second)
		if i == 0 {
			assert.Contains(t, s.out.String(), "took too long")
		} else {
			assert.Contains(t, s.out.String(), "locked by")
		}
	}
	assert.Equal(t, 1, s.fake.Hung(), "one hangs, the others wait for its lock")
}

// If a check runs out of time, the check saves the lists of snapshots that it has read, for the
// next check. If the check cannot save the lists of snapshots, it reports the reason.
func TestCheckWhoseTimeIsUpKeepsWhatItFound(t *testing.T) {
	foreign := func(id int) zfstest.Dataset {
		d := vm(id, "hourly", time.Hour)
		d.Snapshots = append(d.Snapshots, zfstest.Snapshot{Name: "syncoid_c_1", GUID: 2, TXG: 2, Creation: noon.Unix()})
		return d
	}
	s := newSite(t, foreign(100), foreign(101), foreign(102))
	s.fake.Set(zfstest.World{
		Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}, foreign(100), foreign(101), foreign(102)},
		Faults:   []zfstest.Fault{{Words: []string{"list", "tank/vm-101-disk-0"}, Hang: true}},
	})
	status, _ := s.check("-t", "8s", "--cache", "/proc/none/newest.json")
	assert.Equal(t, 3, status)
	assert.Contains(t, s.out.String(), "UNKNOWN: 2 of 3 guests unreadable, 2 of 3 disks unreadable, ")
	assert.Contains(t, s.out.String(), "UNKNOWN tank/vm-101-disk-0 unreadable: reading pool tank took too long: listed the snapshots of")
	assert.Contains(t, s.out.String(), "the results of this check could not be saved, so the next check begins from the start; name a file with --cache: mkdir /proc/none: no such file or directory")
}

func TestKeepWhatWasFound(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	m := memory{cache: scan.NewCache(), exporter: true}
	scanner := scan.Scanner{Kstat: s.fake.Kstat, LockDir: s.fake.LockDir, Now: func() time.Time { return noon }, Cache: m.cache}
	require.Empty(t, scanner.All(t.Context(), scan.Targets{"tank": {"tank"}})[0].Problem)
	require.True(t, m.cache.Unsaved())
	kept, notes := m.keep(0, true)
	assert.False(t, kept)
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0].Text, "this user has no cache directory")
	m.cachePath = filepath.Join(t.TempDir(), "deep", "newest.json")
	kept, notes = m.keep(time.Minute, true)
	assert.True(t, kept)
	assert.Empty(t, notes)
	assert.FileExists(t, m.cachePath)
}

func TestCheckTellsHowPoolsAre(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour), vm(101, "hourly", time.Hour))
	s.fake.Set(zfstest.World{
		Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}, vm(100, "hourly", time.Hour), vm(101, "hourly", time.Hour)},
		Zpool:    map[string]string{"tank": `"state":"ONLINE","error_count":"1","errlist":["tank/vm-100-disk-0@old:<0x1>"],"scan_stats":{"function":"SCRUB","state":"FINISHED","end_time":"1774700000"}`},
	})
	status, first := s.check()
	assert.Equal(t, 2, status)
	assert.True(t, strings.HasPrefix(first, "CRITICAL: pool tank has errors, oldest"), first)
	assert.Contains(t, first, "'fill_tank'=25%;80;90;0")
	assert.Contains(t, s.out.String(), "CRITICAL pool tank: 1 permanent error, disks unknown: needs root (snapwatch health)")
	asked := len(s.fake.ZpoolCalls())
	s.check()
	assert.Len(t, s.fake.ZpoolCalls(), asked, "not again within five minutes")

	s.Root, s.Mounts = true, s.fake.Path("mounts")
	require.NoError(t, os.WriteFile(s.Mounts, nil, 0o600))
	require.Equal(t, 0, execute([]string{"health"}, s.environment))
	s.Root = false
	status, first = s.check()
	assert.Equal(t, 2, status)
	assert.True(t, strings.HasPrefix(first, "CRITICAL: pool tank has errors, 1 of 2 guests damaged, 1 of 2 disks damaged"), first)
	assert.Contains(t, s.out.String(), "CRITICAL pool tank: 1 permanent error in tank/vm-100-disk-0")
	s.check("-v", "--vmid", "100")
	assert.Contains(t, s.out.String(), "CRITICAL tank/vm-100-disk-0 damaged: permanent errors in @old")
	status, _ = s.check("--vmid", "101", "--disk", "vm-101-*")
	assert.Equal(t, 2, status, "the pool of the disk has errors")
	s.check("--format", "checkmk")
	assert.Contains(t, s.out.String(), "fill_tank=25;80;90")
}

func TestCheckTellsOfRunsOnThisHost(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	s.TimerLink = s.fake.Path("timer")
	require.NoError(t, os.WriteFile(s.TimerLink, nil, 0o600))
	last := report.Run{LastSuccess: noon.Add(-time.Hour), Counts: map[report.Event]int{}, LeftFrozen: []int{100}}
	require.NoError(t, last.Save(s.StateDir, report.Name))
	status, first := s.check()
	assert.Equal(t, 2, status)
	assert.Contains(t, first, "'snap_age'=3600s;2700;;0")
	assert.Contains(t, s.out.String(), "CRITICAL: the last good run of snap ended 1h ago (limit 45m)")
	assert.Contains(t, s.out.String(), "CRITICAL: 1 guest may be frozen still (100)")
	status, first = s.check("--vmid", "100")
	assert.Equal(t, 0, status, "of a guest alone nothing of the host is said")
	assert.NotContains(t, first, "snap_age")

	require.NoError(t, os.WriteFile(filepath.Join(s.StateDir, report.Name), []byte("{"), 0o600))
	_, _ = s.check()
	assert.Contains(t, s.out.String(), "CRITICAL: the report of snap cannot be read: ")
}

func TestCheckMissesWhatTheExporterHasSeen(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	seen := scan.Inventory{Disks: map[string]scan.KnownDisk{"tank/vm-100-disk-0": {GUID: 100}, "tank/vm-200-disk-0": {GUID: 200}, "lost/vm-300-disk-0": {GUID: 300}}}
	require.NoError(t, seen.Save(s.seen))
	status, first := s.check()
	assert.Equal(t, 2, status)
	assert.True(t, strings.HasPrefix(first, "CRITICAL: pool lost missing, 2 of 3 guests incomplete, 2 of 3 disks missing"), first)

	s.out.Reset()
	require.Equal(t, 0, execute([]string{"forget", "tank/vm-200-disk-0", "lost", "--state-dir", filepath.Dir(s.seen)}, s.environment))
	assert.Equal(t, "tank/vm-200-disk-0: forgot 1 disk\nlost: forgot 1 disk\n", s.out.String())
	status, _ = s.check()
	assert.Equal(t, 0, status)
	s.out.Reset()
	require.Equal(t, 0, execute([]string{"forget", "tank/vm-200-disk-0", "--state-dir", filepath.Dir(s.seen)}, s.environment))
	assert.Contains(t, s.out.String(), "tank/vm-200-disk-0: no exporter remembers this dataset")
	assert.Equal(t, 1, execute([]string{"forget", "tank/vm-200-disk-0", "tank/vm-20-disk-0", "--state-dir", filepath.Dir(s.seen)}, s.environment))
	assert.Contains(t, s.errors.String(), "the exporter here never saw tank/vm-20-disk-0: is this the full name?")
	assert.Equal(t, 2, execute([]string{"forget", "tank@x", "--state-dir", filepath.Dir(s.seen)}, s.environment))

	require.NoError(t, os.WriteFile(s.seen, []byte("{"), 0o600))
	status, first = s.check()
	assert.Equal(t, 1, status, "a memory that cannot be read must not pass for an empty one")
	assert.Contains(t, first, "WARNING: disks seen before")
}

// A receive into the copy of a stopped guest's disk may be pending. check does not alarm before
// this receive has been pending for the time in limits.warning.
func TestCheckRemembersSinceWhenAReceiveIsPending(t *testing.T) {
	d := vm(100, "stopped", 72*time.Hour)
	d.Token = true
	s := newSite(t, d)
	now := noon
	s.Now = func() time.Time { return now }
	status, first := s.check()
	assert.Equal(t, 0, status, first)
	now = noon.Add(2 * time.Hour)
	status, _ = s.check()
	assert.Equal(t, 0, status)
	now = noon.Add(2*time.Hour + time.Second)
	status, _ = s.check("-v")
	assert.Equal(t, 2, status)
	assert.Contains(t, s.out.String(), "a receive is pending for 2h")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	status, _ = s.check()
	assert.Equal(t, 2, status, "nothing remembers since when")
}

// set replaces the disks that the fake zfs lists.
func (s *site) set(disks ...zfstest.Dataset) {
	s.fake.Set(zfstest.World{Datasets: append([]zfstest.Dataset{{Name: "tank", GUID: 1}}, disks...)})
}

// On a host without an exporter, check itself remembers the disks that it saw. If check cannot save
// the names of these disks, check warns that no program remembers the disks.
func TestCheckRemembersTheDisksItSaw(t *testing.T) {
	one, other := vm(100, "hourly", time.Hour), vm(101, "hourly", time.Hour)
	s := newSite(t, one, other)
	now := noon
	s.Now = func() time.Time { return now }
	status, first := s.check()
	assert.Equal(t, 0, status, first)
	s.set(one)
	for range 2 {
		status, first = s.check()
		assert.Equal(t, 2, status)
		assert.Contains(t, first, "CRITICAL: 1 of 2 guests incomplete, 1 of 2 disks missing")
	}
	status, _ = s.check("--vmid", "100")
	assert.Equal(t, 0, status)
	now = noon.Add(time.Minute)
	require.Equal(t, 0, execute([]string{"forget", "tank/vm-101-disk-0", "--state-dir", filepath.Dir(s.seen)}, s.environment))
	assert.Contains(t, s.out.String(), "tank/vm-101-disk-0: no exporter remembers this dataset; a check that remembers the dataset forgets it at the next run")
	now = noon.Add(2 * time.Minute)
	status, first = s.check()
	assert.Equal(t, 0, status, first)
	s.set(one, other)
	s.check()
	s.set(one)
	now = noon.Add(3 * time.Minute)
	status, _ = s.check()
	assert.Equal(t, 2, status, "it was here again")
}

func TestCheckSaysWhatBecameOfItsMemory(t *testing.T) {
	one := vm(100, "hourly", time.Hour)
	s := newSite(t, one)
	now := noon
	s.Now = func() time.Time { return now }
	s.check()
	path := s.fake.Path("cache/snapwatch/newest.seen.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)/2], 0o600))
	status, first := s.check()
	assert.Equal(t, 1, status)
	assert.Contains(t, first, "WARNING: disks that were gone before 2026-03-29 12:00:00 are not missed")
	assert.FileExists(t, path+".broken")
	now = noon.Add(23 * time.Hour)
	status, _ = s.check("-w", "2d", "-c", "2d")
	assert.Equal(t, 1, status, "for a day")
	now = noon.Add(25 * time.Hour)
	status, _ = s.check("-w", "2d", "-c", "2d")
	assert.Equal(t, 0, status)

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700)) // read(2) of a directory fails, as it does with EIO
	status, first = s.check("-w", "2d", "-c", "2d")
	assert.Equal(t, 1, status)
	assert.Contains(t, first, "WARNING: the disks found here could not be saved")
	assert.DirExists(t, path)

	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	status, _ = s.check("-w", "2d", "-c", "2d", "-v")
	assert.Equal(t, 1, status)
	assert.Contains(t, s.out.String(), "run an exporter, or name a file with --cache: this user has no cache directory")
	forgotten, _ := scan.Inventory{}.Forget("tank/vm-9-disk-0", now)
	require.NoError(t, forgotten.Save(s.seen))
	status, first = s.check("-w", "2d", "-c", "2d")
	assert.Equal(t, 1, status, "no exporter wrote that: %s", first)
	begun, _ := forgotten.Updated(nil, now)
	require.NoError(t, begun.Save(s.seen))
	status, first = s.check("-w", "2d", "-c", "2d")
	assert.Equal(t, 0, status, "an exporter remembers: %s", first)
}

// If a pool is imported under a new name, and then again under its old name, check reports no disk
// as missing. The result is the same whether check or an exporter remembers the disks.
func TestCheckKnowsAPoolByItsGUID(t *testing.T) {
	renamed := func(name string) zfstest.Dataset {
		d := vm(100, "hourly", time.Hour)
		d.Name = name + "/vm-100-disk-0"
		return d
	}
	s := newSite(t)
	now := noon
	s.Now = func() time.Time { return now }
	be := func(name string, guid string) {
		for _, other := range []string{"tank", "third", "drei"} {
			s.fake.Pool(other, "")
		}
		s.fake.Set(zfstest.World{Datasets: []zfstest.Dataset{{Name: name, GUID: 1}, renamed(name)}})
		s.fake.Pool(name, "ONLINE")
		require.NoError(t, os.WriteFile(filepath.Join(s.Kstat, name, "guid"), []byte(guid+"\n"), 0o600))
		now = now.Add(time.Second)
	}
	be("third", "7")
	status, first := s.check()
	require.Equal(t, 0, status, first)
	require.NoError(t, os.MkdirAll(filepath.Dir(s.seen), 0o755))
	memory, err := os.ReadFile(s.fake.Path("cache/snapwatch/newest.seen.json"))
	require.NoError(t, err)
	for _, name := range []string{"drei", "third", "drei"} {
		// The file s.seen is the inventory of an exporter that was not scraped after the rename.
		require.NoError(t, os.WriteFile(s.seen, memory, 0o600))
		be(name, "7")
		status, first = s.check()
		assert.Equal(t, 0, status, first)
	}
	be("other", "8")
	status, first = s.check()
	assert.Equal(t, 2, status)
	assert.Contains(t, first, "pool drei missing")
}

func TestCheckWithoutZFS(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.RemoveAll(s.Kstat))
	status, first := s.check()
	assert.Equal(t, 3, status)
	assert.Equal(t, "UNKNOWN: the ZFS module is not loaded (modprobe zfs)", first)
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("pools: [tank]\n"), 0o600))
	status, first = s.check()
	assert.Equal(t, 2, status, "a pool that must be there is missing")
	assert.Contains(t, first, "CRITICAL: the ZFS module is not loaded (modprobe zfs), pool tank missing", "the cause first")
}

func TestCheckUsesTheConfiguration(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 3*time.Hour), vm(101, "hourly", 30*time.Hour))
	for text, want := range map[string]string{
		"limits: {warning: 4h}\noverrides: [{vmid: 101, warning: 2d, critical: 3d}]\n": "OK: 2 of 2 guests whole, 2 of 2 disks fresh",
		"ignore: [vm-101-*]\n": "WARNING: 1 of 2 guests stale, 1 of 2 disks stale",
		"maintenance: [{pool: tank, until: 2026-03-29T13:00:00Z}]\n": "OK: 0 of 2 guests whole, 0 of 2 disks fresh; 2 excluded",
		"maintenance: [{pool: tank, until: 2026-03-29T11:00:00Z}]\n": "CRITICAL: 2 of 2 guests stale, 2 of 2 disks stale, the maintenance of pool tank ended",
		"maintenance: [{pool: tank}]\n":                              "UNKNOWN: config ",
		"limit: {}\n":                                                "UNKNOWN: config ",
		"overrides: [{vmid: 101, warning: 7h}]\n":                    "UNKNOWN: config ",
		"datasets: [tank/none]\n":                                    "CRITICAL: pool tank lacks a dataset, no disk found",
	} {
		require.NoError(t, os.WriteFile(s.ConfigPath, []byte(text), 0o600))
		_, first := s.check()
		assert.True(t, strings.HasPrefix(first, want), "%s: %q", text, first)
	}
}

func TestCheckTellsAPanicAsUnknown(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	s.check() // saves the disks for the next checks
	calls := func() int64 {
		var n atomic.Int64
		s.Now = func() time.Time { n.Add(1); return noon }
		s.check()
		return n.Load()
	}()
	require.Greater(t, calls, int64(3))
	for broken := int64(1); broken <= calls; broken++ {
		var n atomic.Int64
		s.Now = func() time.Time {
			if n.Add(1) == broken {
				panic("the clock is broken")
			}
			return noon
		}
		status, first := s.check()
		assert.Equal(t, 3, status, "call %d of the clock", broken)
		assert.True(t, strings.HasPrefix(first, "UNKNOWN: "), first)
		assert.Contains(t, s.out.String(), "internal error while")
	}
}

func TestCheckJSONHasGuidsAsStrings(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	s.check("--format", "json")
	var doc checker.Document
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &doc))
	assert.Equal(t, "100", doc.Disks[0].GUID)
	assert.Equal(t, "fresh", doc.Disks[0].Verdict)
}

func TestCheckKeepsItsCache(t *testing.T) {
	d := vm(100, "hourly", time.Hour)
	d.Snapshots = append(d.Snapshots, zfstest.Snapshot{Name: "syncoid_x", GUID: 2, TXG: 2, Creation: noon.Unix()})
	s := newSite(t, d)
	_, first := s.check()
	assert.Contains(t, first, "OK: ")
	assert.Len(t, s.fake.Calls(), 4)
	s.fake.Forget()
	s.check()
	assert.Len(t, s.fake.Calls(), 1, "%q", s.fake.Calls())
	require.NoError(t, os.WriteFile(s.fake.Path("cache/snapwatch/newest.json"), []byte("x"), 0o600))
	status, _ := s.check()
	assert.Equal(t, 0, status)
	assert.Contains(t, s.out.String(), "note: cache ")
}
