package scan

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// tank returns a fake pool tank about which zpool prints the given output.
func tank(zpool string) zfstest.World {
	return zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", Creation: 1700000000}}, Zpool: map[string]string{"tank": zpool}}
}

const (
	scrubbed  = `"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"FINISHED","start_time":"1774000000","end_time":"1774000100","errors":"0"}`
	scrubbing = `"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"SCANNING","start_time":"1774500000","end_time":"0","errors":"0"}`
)

// clocked returns a scanner whose clock the test sets.
func clocked(f *zfstest.Fake, now *time.Time) Scanner {
	return Scanner{Kstat: f.Kstat, LockDir: f.LockDir, Now: func() time.Time { return *now }, Cache: NewCache()}
}

func TestHealthIsAskedOnceInFiveMinutes(t *testing.T) {
	f := zfstest.New(t, tank(scrubbed))
	clock := time.Unix(1774600000, 0)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	h := s.Health(t.Context(), file, "tank", nil)
	assert.Equal(t, uint64(250), h.Allocated)
	assert.Len(t, f.ZpoolCalls(), 2)

	clock = clock.Add(5*time.Minute - 1)
	assert.Equal(t, h, s.Health(t.Context(), file, "tank", h), "this process knows")
	again := s.Health(t.Context(), file, "tank", nil)
	assert.Equal(t, h.LastScrub.Unix(), again.LastScrub.Unix(), "another process left it")
	assert.Len(t, f.ZpoolCalls(), 2)

	clock = clock.Add(1)
	s.Health(t.Context(), file, "tank", h)
	assert.Len(t, f.ZpoolCalls(), 4)
	clock = clock.Add(-time.Hour)
	s.Health(t.Context(), file, "tank", h)
	assert.Len(t, f.ZpoolCalls(), 6, "a clock that went back keeps nothing fresh")
}

func TestTheLastScrubIsRememberedWhileAnotherRuns(t *testing.T) {
	f := zfstest.New(t, tank(scrubbed))
	clock := time.Unix(1774600000, 0)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	s.Health(t.Context(), file, "tank", nil)
	f.Set(tank(scrubbing))
	clock = clock.Add(time.Hour)
	h := s.Health(t.Context(), file, "tank", nil)
	assert.True(t, h.Scrub.UnderWay())
	assert.Equal(t, int64(1774000100), h.LastScrub.Unix())
}

func TestASuspendedPoolIsAskedNothing(t *testing.T) {
	f := zfstest.New(t, tank(scrubbed))
	clock := time.Unix(1774600000, 0)
	s := clocked(f, &clock)
	h := s.Health(t.Context(), HealthFile{}, "tank", nil)
	f.Pool("tank", "SUSPENDED")
	clock = clock.Add(time.Hour)
	assert.Equal(t, h, s.Health(t.Context(), HealthFile{}, "tank", h), "what was known stands")
	assert.Len(t, f.ZpoolCalls(), 2)
	assert.Equal(t, "SUSPENDED", s.Pool(t.Context(), "tank", []string{"tank"}).ZFSState)
}

func TestZpoolThatFailsIsAskedNoMoreOften(t *testing.T) {
	w := tank(scrubbed)
	f := zfstest.New(t, w)
	clock := time.Unix(1774600000, 0)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	s.Health(t.Context(), file, "tank", nil)
	w.Faults = []zfstest.Fault{{Words: []string{"zpool", "status"}, Exit: 1, Stderr: "no luck\n"}}
	f.Set(w)
	clock = clock.Add(time.Hour)
	began := clock
	for range 3 {
		h := s.Health(t.Context(), file, "tank", nil)
		assert.Contains(t, h.Problem, "no luck")
		assert.Equal(t, began.Unix(), h.FailingSince.Unix())
		assert.Equal(t, int64(1774000100), h.LastScrub.Unix(), "what was known stands")
		clock = clock.Add(4 * time.Minute)
	}
	assert.Len(t, f.ZpoolCalls(), 2+2, "not within five minutes")

	f.Set(tank(scrubbed))
	clock = clock.Add(time.Hour)
	assert.Empty(t, s.Health(t.Context(), file, "tank", nil).Problem)
}

func TestHealthDoesNotWaitForZpoolThatHangs(t *testing.T) {
	w := tank(scrubbed)
	w.Faults = []zfstest.Fault{{Words: []string{"zpool", "status"}, Hang: true}}
	f := zfstest.New(t, w)
	clock := time.Unix(1774600000, 0)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { f.AwaitHung(1); cancel() }()
	h := clocked(f, &clock).Health(ctx, HealthFile{}, "tank", nil)
	assert.Contains(t, h.Problem, "was given up")
	assert.Equal(t, clock, h.FailingSince)
}

func TestOnlyRootsReportIsBelieved(t *testing.T) {
	f := zfstest.New(t, tank(`"errlist":["tank/vm-100-disk-0@a:<0x1>","<0x3>:<0x1>"],"error_count":"2",`+strings.Replace(scrubbed, `"error_count":"0",`, "", 1)))
	clock := time.Unix(1774600000, 0)
	s, path := clocked(f, &clock), filepath.Join(t.TempDir(), DamageName)
	file := HealthFile{Report: path}
	assert.Nil(t, s.Health(t.Context(), file, "tank", nil).Damage, "no report")

	d, err := s.FindDamage(t.Context(), "tank", nil)
	require.NoError(t, err)
	want := &checker.Damage{At: clock, Exact: true, Counted: 2, Damage: zfs.Damage{Snapshots: map[string][]string{"tank/vm-100-disk-0": {"a"}}, Unresolved: 1}}
	assert.Equal(t, want, d)
	require.NoError(t, SaveDamage(path, DamageOf(map[string]*checker.Damage{"gone": want, "kept": want}, map[string]*checker.Damage{"tank": d}, []string{"tank", "kept"})))
	h := s.Health(t.Context(), file, "tank", nil)
	require.NotNil(t, h.Damage)
	assert.Equal(t, want.Damage, h.Damage.Damage)
	report, err := LoadDamage(path)
	require.NoError(t, err)
	assert.Len(t, report, 2, "without the pool that is gone")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o644), info.Mode().Perm(), "the exporter is another user")

	require.NoError(t, os.Chmod(path, 0o666))
	assert.Nil(t, s.Health(t.Context(), file, "tank", h).Damage, "somebody else may have written it")
	f.Pool("tank", "SUSPENDED")
	_, err = s.FindDamage(t.Context(), "tank", nil)
	require.ErrorContains(t, err, "suspended")
}

func TestWhoWaitedTakesWhatTheOtherRead(t *testing.T) {
	f := zfstest.New(t, tank(scrubbed))
	clock := time.Unix(1774600000, 0)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	old := s.Health(t.Context(), file, "tank", nil)
	clock = clock.Add(time.Hour)
	s.Health(t.Context(), file, "tank", old)
	calls := len(f.ZpoolCalls())
	assert.Equal(t, clock.Unix(), s.Health(t.Context(), file, "tank", old).ReadAt.Unix())
	assert.Len(t, f.ZpoolCalls(), calls)
}

// failing returns a fake pool for which zpool status fails.
func failing() zfstest.World {
	w := tank(scrubbed)
	w.Faults = []zfstest.Fault{{Words: []string{"zpool", "status"}, Exit: 1, Stderr: "no luck\n"}}
	return w
}

// judged returns the verdict on the pool tank if the pool's health is h.
func judged(h *checker.Health, now time.Time) checker.PoolResult {
	return checker.JudgePool(checker.Pool{Name: "tank", ReadAt: now, ZFSState: "ONLINE", Health: h}, checker.NewPolicy(config.Default()), now)
}

func TestZpoolThatFailsWhereNothingIsRememberedAlarmsAtOnce(t *testing.T) {
	clock := time.Unix(1774600000, 0)
	nowhere := HealthFile{Prefix: "/proc/nothing/health-"}
	s := clocked(zfstest.New(t, failing()), &clock)
	for name, file := range map[string]HealthFile{"nowhere to write": nowhere, "no cache": {}} {
		r := judged(s.Health(t.Context(), file, "tank", nil), clock)
		assert.Equal(t, checker.Unknown, r.State, name)
		assert.Contains(t, r.Reason, "its health was never read: ", name)
		assert.Contains(t, r.Reason, "no luck", name)
	}

	// The file with the pools' health can be read but not replaced: its name has the greatest
	// possible length, so a temporary file next to it, with a longer name, is impossible.
	f := zfstest.New(t, tank(scrubbed))
	s = clocked(f, &clock)
	dir := t.TempDir()
	read := s.Health(t.Context(), HealthFile{Prefix: filepath.Join(dir, "health-")}, "tank", nil)
	file := HealthFile{Prefix: filepath.Join(dir, strings.Repeat("x", 255-len("tank.json")))}
	require.NoError(t, os.Rename(filepath.Join(dir, "health-tank.json"), file.path("tank")))
	f.Set(failing())
	for range 3 {
		clock = clock.Add(24 * time.Hour)
		r := judged(s.Health(t.Context(), file, "tank", nil), clock)
		assert.Equal(t, checker.Unknown, r.State)
		assert.Contains(t, r.Reason, "nothing remembers since when zpool fails: ")
	}
	assert.Equal(t, checker.OK, judged(s.Health(t.Context(), file, "tank", read), clock).State, "this process remembers")
}

func TestACanceledScrubIsNoScrub(t *testing.T) {
	w := tank(`"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"CANCELED","start_time":"1774000000","end_time":"1774000100","errors":"0"}`)
	w.Datasets = []zfstest.Dataset{{Name: "tank", GUID: 1, Creation: 1500000000}}
	clock := time.Unix(1774600000, 0)
	h := clocked(zfstest.New(t, w), &clock).Health(t.Context(), HealthFile{}, "tank", nil)
	r := judged(h, clock)
	assert.Equal(t, checker.PoolScrub, r.Verdict)
	assert.Contains(t, r.Reason, "no scrub is known to have ended since the pool was made 3178d5h ago")
}

func TestErrorsOfAScrubStandUntilOneEndsWell(t *testing.T) {
	scan := func(function, state, errors string) zfstest.World {
		return tank(`"state":"ONLINE","error_count":"0","scan_stats":{"function":"` + function + `","state":"` + state + `","start_time":"1774500000","end_time":"1774500100","errors":"` + errors + `"}`)
	}
	f := zfstest.New(t, scan("SCRUB", "FINISHED", "7"))
	clock := time.Unix(1774600000, 0)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	asked := func() checker.PoolResult {
		clock = clock.Add(time.Hour)
		return judged(s.Health(t.Context(), file, "tank", nil), clock)
	}
	assert.Equal(t, "the last scrub found 7 errors that ZFS does not list any more: zpool scrub tank", asked().Reason)
	for _, then := range [][2]string{{"SCRUB", "SCANNING"}, {"SCRUB", "CANCELED"}, {"RESILVER", "SCANNING"}, {"RESILVER", "FINISHED"}} {
		f.Set(scan(then[0], then[1], "0"))
		r := asked()
		assert.Equal(t, []any{checker.PoolScrub, checker.Critical}, []any{r.Verdict, r.State}, then)
		assert.Contains(t, r.Reason, "the last scrub found 7 errors", then)
	}
	f.Set(scan("SCRUB", "SCANNING", "0"))
	assert.Contains(t, asked().Reason, "any more, and another is under way")
	f.Set(scan("SCRUB", "FINISHED", "0"))
	assert.Equal(t, checker.OK, asked().State)
}

func TestATimeAheadSinceWhenZpoolFailsBeginsAgain(t *testing.T) {
	f := zfstest.New(t, tank(scrubbed))
	right := time.Unix(1774600000, 0)
	clock := right.Add(365 * 24 * time.Hour)
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(t.TempDir(), "health-")}
	s.Health(t.Context(), file, "tank", nil)
	f.Set(failing())
	clock = clock.Add(time.Hour)
	s.Health(t.Context(), file, "tank", nil)
	clock = right
	h := s.Health(t.Context(), file, "tank", nil)
	assert.Equal(t, right.Unix(), h.FailingSince.Unix())
	assert.Equal(t, checker.OK, judged(h, clock).State)
	clock = right.Add(16 * time.Minute)
	assert.Equal(t, checker.Unknown, judged(s.Health(t.Context(), file, "tank", nil), clock).State)
}

func TestAnotherPoolOfTheSameNameHasNoPast(t *testing.T) {
	const resilvered = `"state":"ONLINE","error_count":"2","scan_stats":{"function":"RESILVER","state":"FINISHED","start_time":"1500000000","end_time":"1500000100","errors":"0"},"errlist":["tank/vm-100-disk-0@a:<0x1>","<0x3>:<0x1>"]`
	f := zfstest.New(t, tank(scrubbed))
	guid := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(f.Kstat, "tank", "guid"), []byte(text+"\n"), 0o600))
	}
	guid("11")
	clock := time.Unix(1774600000, 0)
	dir := t.TempDir()
	s, file := clocked(f, &clock), HealthFile{Prefix: filepath.Join(dir, "health-"), Report: filepath.Join(dir, DamageName)}
	first := s.Health(t.Context(), file, "tank", nil)
	f.Set(tank(resilvered))
	found, err := s.FindDamage(t.Context(), "tank", nil)
	require.NoError(t, err)
	require.NoError(t, SaveDamage(file.Report, map[string]*checker.Damage{"tank": found}))
	for name, last := range map[string]*checker.Health{"another process": nil, "this process": first} {
		guid("11")
		clock = clock.Add(time.Hour)
		h := s.Health(t.Context(), file, "tank", last)
		assert.False(t, h.LastScrub.IsZero(), name)
		assert.NotNil(t, h.Damage, name)

		guid("22")
		clock = clock.Add(time.Minute)
		h = s.Health(t.Context(), file, "tank", h)
		assert.Equal(t, clock, h.ReadAt, "%s asks at once", name)
		assert.True(t, h.LastScrub.IsZero(), name)
		assert.Nil(t, h.Damage, "%s: root looked at another pool", name)
		require.NoError(t, HealthFile{Prefix: file.Prefix}.save("tank", *first))
	}
	require.NoError(t, os.Remove(filepath.Join(f.Kstat, "tank", "guid")))
	assert.NotNil(t, s.Health(t.Context(), file, "tank", first).Damage, "before OpenZFS 2.2 only the name is known")
}

// error_count counts blocks, and errlist has one place for each object and each of its snapshots, so
// the two numbers cannot be compared.
func TestErrorsAndTheirPlacesAreNotCompared(t *testing.T) {
	clock := time.Unix(1774600000, 0)
	for name, c := range map[string]struct {
		count, places string
		unlisted      bool
	}{
		"three blocks of one volume":      {"3", `"tank/vm-100-disk-0@a:<0x1>"`, false},
		"one block in a snapshot and now": {"1", `"tank/vm-100-disk-0@a:<0x1>","tank/vm-100-disk-0:<0x1>"`, false},
		"no place":                        {"2", ``, true},
	} {
		f := zfstest.New(t, tank(`"state":"ONLINE","error_count":"`+c.count+`","errlist":[`+c.places+`],"scan_stats":{"function":"SCRUB","state":"FINISHED","start_time":"1774000000","end_time":"1774000100","errors":"`+c.count+`"}`))
		d, err := clocked(f, &clock).FindDamage(t.Context(), "tank", nil)
		require.NoError(t, err)
		assert.Equal(t, c.unlisted, d.Unlisted, name)
	}
}
