package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfstest"
)

// If cron runs check --changes every half hour, a fault of 36 hours causes three mails: at the
// fault's beginning, after a day, and at its end.
func TestAFaultOf36HoursIsThreeMails(t *testing.T) {
	one, other := vm(100, "hourly", time.Hour), vm(101, "hourly", time.Hour)
	s := newSite(t, one, other)
	now := noon
	s.Now = func() time.Time { return now }
	var mails []string
	run := func(want int, disks ...zfstest.Dataset) {
		s.set(disks...)
		status, first := s.check("--changes", "-w", "30d", "-c", "30d")
		require.Equal(t, want, status, s.out.String())
		if first != "" {
			mails = append(mails, first)
			assert.Contains(t, s.out.String(), map[int]string{0: "\nOK: ", 2: "\nCRITICAL: 1 of 2 guests incomplete, 1 of 2 disks missing"}[want], "the whole picture follows")
		}
		now = now.Add(30 * time.Minute)
	}
	run(0, one, other)
	for range 72 {
		run(2, one)
	}
	run(0, one, other)
	run(0, one, other)
	assert.Equal(t, []string{
		"began: CRITICAL guest 101 incomplete",
		"reminder: nothing has changed for 1d",
		"ended after 1d12h: OK guest 101 whole",
	}, mails)
}

// While prune fails for more and more days, check --changes reports one fault: its beginning and a
// reminder.
func TestAFailingPruneIsTwoMails(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	s.CronFile = s.fake.Path("cron")
	require.NoError(t, os.WriteFile(s.CronFile, []byte("0 * * * * root /usr/bin/snapwatch prune f48 h24\n"), 0o644))
	require.NoError(t, os.MkdirAll(s.StateDir, 0o755))
	require.NoError(t, (&report.Run{End: noon, LastSuccess: noon}).Save(s.StateDir, report.PruneName))
	now := noon.Add(5 * time.Hour)
	s.Now = func() time.Time { return now }
	var mails []string
	for range 72 {
		now = now.Add(30 * time.Minute)
		if _, first := s.check("--changes", "-w", "30d", "-c", "30d"); first != "" {
			mails = append(mails, first)
		}
	}
	require.Len(t, mails, 2)
	assert.Contains(t, mails[0], "began: WARNING the last good run of prune ended ")
	assert.Equal(t, "reminder: nothing has changed for 1d", mails[1])
}

// Two calls of check --changes for different disks, or with different limits, remember their
// printed changes in separate files.
func TestChangesAreThoseOfOneQuestion(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour), vm(101, "hourly", time.Hour))
	for _, args := range [][]string{{}, {"--vmid", "100"}, {"--guest", "100"}, {"-w", "~:30m"}} {
		_, first := s.check(append(args, "--changes")...)
		assert.Contains(t, first, "began: ", args)
		_, first = s.check(append(args, "--changes")...)
		assert.Empty(t, first, args)
	}
	for _, args := range [][]string{{"--vmid", "101"}, {"--guest", "101"}, {"-w", "1d", "-c", "2d"}, {}} {
		_, first := s.check(append(args, "--changes")...)
		assert.Empty(t, first, args)
	}
}

// If check --changes itself begins to fail, it prints the failure once. When the check works again,
// check --changes prints the end of the failure once.
func TestChangesOfTheCheckItself(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("limit: {}\n"), 0o600))
	for _, want := range []string{"began: UNKNOWN config", ""} {
		status, first := s.check("--changes")
		assert.Equal(t, 3, status)
		assert.Contains(t, first, want)
		assert.Equal(t, want == "", first == "", s.out.String())
	}
	require.NoError(t, os.Remove(s.ConfigPath))
	status, first := s.check("--changes")
	assert.Equal(t, 0, status)
	assert.Contains(t, first, "OK the check finds disks again")
}

// If check --changes cannot save the changes that it has printed, each call prints all present
// problems, and says why saving failed.
func TestChangesThatCannotBeKept(t *testing.T) {
	stale := vm(100, "hourly", 7*time.Hour)
	s := newSite(t, stale)
	const cannot = "changes are unknown, so this check prints all current problems: "
	_, first := s.check("--changes")
	assert.Contains(t, first, "began: ")
	require.NoError(t, os.WriteFile(s.seen, []byte(`{"version":1,"disks":{}}`), 0o600))
	full := filepath.Join(t.TempDir(), "full")
	require.NoError(t, os.WriteFile(full, nil, 0o600))
	for range 2 {
		status, first := s.check("--changes", "--cache", filepath.Join(full, "newest.json"))
		assert.Equal(t, 2, status)
		assert.Contains(t, first, cannot)
		assert.Contains(t, s.out.String(), "\nCRITICAL: ")
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	_, first = s.check("--changes")
	assert.Contains(t, first, cannot+"this user has no cache directory; name a file with --cache")
}

// If the file of printed changes cannot be read, check --changes prints all problems again and
// reports that the file is lost.
func TestChangesThatWereLost(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour))
	s.check("--changes")
	found, err := filepath.Glob(s.fake.Path("cache/snapwatch/newest.changes-*.json"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	for text, mode := range map[string]os.FileMode{"{": 0o600, `{"version":9}`: 0o600, `{"version":1}`: 0o666} {
		require.NoError(t, os.WriteFile(found[0], []byte(text), 0o600))
		require.NoError(t, os.Chmod(found[0], mode))
		status, first := s.check("--changes")
		assert.Equal(t, 2, status)
		assert.Contains(t, first, "the record of printed changes could not be read", text)
		assert.Contains(t, s.out.String(), "began: CRITICAL", text)
		_, first = s.check("--changes")
		assert.Empty(t, first, text)
	}
}

// If check --changes fails to print some changes, the next check prints these changes.
func TestChangesThatWereNotPrinted(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour))
	s.Stdout = broken{}
	s.check("--changes")
	s.Stdout = &s.out
	_, first := s.check("--changes")
	assert.Contains(t, first, "began: ")

	s.set(vm(100, "hourly", time.Hour))
	s.Stdout = broken{}
	s.check("--changes")
	s.Stdout = &s.out
	_, first = s.check("--changes")
	assert.Contains(t, first, "ended after ", "the end was not printed either")
}

// A process that writes to a closed pipe is killed. So check --changes first prints the changes,
// and then saves the record of printed changes.
func TestChangesAreSavedAfterPrinting(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour))
	kept := func() string {
		found, err := filepath.Glob(s.fake.Path("cache/snapwatch/newest.changes-*.json"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		text, err := os.ReadFile(found[0])
		require.NoError(t, err)
		return string(text)
	}
	printing := 0
	s.Stdout = writer(func(p []byte) (int, error) {
		assert.NotContains(t, kept(), "stale", "a signal ends the check here")
		printing++
		return len(p), nil
	})
	s.check("--changes")
	assert.Positive(t, printing)
	assert.Contains(t, kept(), "stale")
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// broken is an io.Writer whose Write always fails.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestChangesAreForPeople(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	for _, format := range []string{"json", "checkmk"} {
		status, first := s.check("--changes", "--format", format)
		assert.Equal(t, 3, status)
		assert.Contains(t, first, "--changes is for people")
	}
}
