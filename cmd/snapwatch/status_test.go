package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfstest"
)

// look types one of the commands status and explain, and returns the exit status.
func (s *site) look(command string, args ...string) int {
	s.out.Reset()
	s.errors.Reset()
	return execute(append([]string{command, "--seen", s.seen}, args...), s.environment)
}

// atTerminal makes the standard output of the tested commands a terminal of the given size, with
// the given environment variables.
func (s *site) atTerminal(width, height int, variables ...string) {
	s.Terminal = true
	s.Size = func() (int, int) { return width, height }
	s.Getenv = func(name string) string {
		for _, v := range variables {
			if value, is := strings.CutPrefix(v, name+"="); is {
				return value
			}
		}
		return ""
	}
}

func TestStatusShowsTheTableOfCheck(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour), vm(102, "daily", 7*time.Hour))
	require.Equal(t, 2, func() int { status, _ := s.check("--format", "table"); return status }())
	want := s.out.String()
	require.Equal(t, 0, s.look("status", "--disks"), "its status is not that of the disks")
	assert.Equal(t, want, s.out.String())
	assert.NotContains(t, want, "\x1b")
	require.Equal(t, 0, s.look("status", "--vmid", "100", "--disks"))
	assert.NotContains(t, s.out.String(), "vm-102")
	require.Equal(t, 0, s.look("status", "-w", "30m", "--format", "json"))
	var doc checker.Document
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &doc))
	assert.Equal(t, "CRITICAL", doc.State)
}

func TestStatusIsByGuest(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour), vm(102, "daily", 7*time.Hour))
	require.Equal(t, 0, s.look("status"))
	assert.Contains(t, s.out.String(), "STATE     VERDICT  GUEST  DISKS  RESTORE POINT        AGE  REASON\n"+
		"CRITICAL  stale    102    1      2026-03-29 05:00:00  7h   vm-102-disk-0 stale 7h (limit 6h)\n"+
		"OK        whole    100    1      2026-03-29 11:00:00  1h\n")
	for _, part := range []string{"--pool=tank", "--disk=vm-10*"} {
		require.Equal(t, 0, s.look("status", part))
		assert.Contains(t, s.out.String(), "  tank/vm-102-disk-0  ", "the rest of a guest may be elsewhere")
	}
}

func TestStatusHasColoursOnlyWhereTheyAreWanted(t *testing.T) {
	s := newSite(t, vm(102, "daily", 7*time.Hour))
	s.atTerminal(60, 24, "TERM=xterm")
	s.look("status")
	assert.Contains(t, s.out.String(), "\x1b[1;31mCRITICAL")
	s.look("explain", "vm-102-disk-0")
	assert.Contains(t, s.out.String(), "\x1b[1;31mCRITICAL stale")
	for _, variables := range [][]string{{"TERM=xterm", "NO_COLOR=1"}, {"TERM=dumb"}} {
		s.atTerminal(60, 24, variables...)
		s.look("status")
		assert.NotContains(t, s.out.String(), "\x1b", variables)
		for line := range strings.Lines(s.out.String()) {
			assert.LessOrEqual(t, len([]rune(line)), 61)
		}
	}
}

func TestStatusFailsWhereNothingCanBeFoundOut(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{{"--from", "http://127.0.0.1:1"}, {"--watch"}, {"--config", "/nonexistent"}, {"-w", "2h", "-c", "1h"}, {"--every", "x"}} {
		assert.Equal(t, 2, s.look("status", args...), args)
		assert.Contains(t, s.errors.String(), "snapwatch: ")
	}
}

func TestAFrameIsDrawnOverTheLast(t *testing.T) {
	s := newSite(t)
	s.atTerminal(80, 4)
	assert.Equal(t, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J", frame("a\nb\n", s.environment))
	assert.Equal(t, "\x1b[Ha\x1b[K\nb\x1b[K\n…\x1b[K\n\x1b[J", frame("a\nb\nc\nd\n", s.environment), "no higher than the terminal")
	s.atTerminal(80, 4, "TERM=dumb")
	assert.Equal(t, "a\nb\nc\nd\n\n", frame("a\nb\nc\nd\n", s.environment), "one that cannot be drawn over")
}

func TestExplainNamesDisksAsPeopleDo(t *testing.T) {
	pending := vm(102, "daily", 7*time.Hour)
	pending.Token = true
	s := newSite(t, vm(100, "hourly", time.Hour), pending)
	for _, name := range []string{"vm-102-disk-0", "tank/vm-102-disk-0", "*102*"} {
		require.Equal(t, 0, s.look("explain", name), s.errors.String())
		assert.Contains(t, s.out.String(), "CRITICAL stale  tank/vm-102-disk-0, guest 102")
		assert.NotContains(t, s.out.String(), "vm-100")
	}
	for _, text := range []string{"autosnap_2026-03-29_05:00:00_daily", "limit 6h, limits.critical", "broken hop   not known", "pending      yes, with a resume token", "--owners"} {
		assert.Contains(t, s.out.String(), text)
	}
	assert.Equal(t, 2, s.look("explain", "vm-999-disk-0"))
	assert.Contains(t, s.errors.String(), "no disk matches")
	assert.Equal(t, 2, s.look("explain", "vm-102-disk-0", "vm-999-disk-0", "tank/nosuch"))
	assert.Contains(t, s.out.String(), "tank/vm-102-disk-0")
	assert.Contains(t, s.errors.String(), "no disk matches vm-999-disk-0, tank/nosuch; snapwatch status lists")
	assert.Equal(t, 2, s.look("explain"))
}

func TestExplainAsksTheOwner(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour))
	require.Equal(t, 0, s.look("explain", "vm-100-disk-0", "--owners", "http://127.0.0.1:1", "-t", "5"))
	assert.Contains(t, s.out.String(), "127.0.0.1:1  -")
	assert.Contains(t, s.out.String(), "could not be asked: ")
	assert.Contains(t, s.out.String(), "broken hop   not known: owner unreachable")
}

func TestExplainSaysWhichPoolHides(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	s.fake.Pool("tank", "SUSPENDED")
	assert.Equal(t, 2, s.look("explain", "vm-100-disk-0"))
	assert.Contains(t, s.errors.String(), "pool tank is suspended")
	require.NoError(t, os.MkdirAll(filepath.Dir(s.seen), 0o755))
	require.NoError(t, scan.Inventory{Disks: map[string]scan.KnownDisk{"tank/vm-100-disk-0": {GUID: 100}}}.Save(s.seen))
	assert.Equal(t, 0, s.look("explain", "vm-100-disk-0"))
	assert.Contains(t, s.out.String(), "zpool status tank")
}

// explain VMID prints the restore point, and the commands that start the guest in its state of the
// restore point.
func TestExplainGuest(t *testing.T) {
	one, two := vm(100, "hourly", time.Hour), vm(100, "daily", time.Hour)
	two.Name, two.GUID, two.Snapshots[0].GUID = "tank/vm-100-disk-1", 1001, 2
	s := newSite(t, one, two, vm(102, "daily", 7*time.Hour))
	require.Equal(t, 0, s.look("explain", "100"), s.errors.String())
	for _, text := range []string{
		"OK whole  guest 100\n",
		"Guest 100 can be started here as of 2026-03-29 11:00:00, 1h ago: all 2 disks that it has here have a snapshot of that time.",
		"What the guest has written since is not known: no owner was asked",
		"\n  encryption     none here\n  room           tank has 20.0G free; ",
		"\n  pool           tank is ok, ZFS calls it ONLINE, 25% of it is taken",
		"    zfs create tank/start-100\n    zfs clone tank/vm-100-disk-0@autosnap_2026-03-29_11:00:00_hourly tank/start-100/vm-100-disk-0\n" +
			"    zfs clone tank/vm-100-disk-1@autosnap_2026-03-29_11:00:00_daily tank/start-100/vm-100-disk-1\n",
		"    zfs destroy -r tank/start-100\n",
		"snapwatch guest-config 100 --at tank/vm-100-disk-0@autosnap_2026-03-29_11:00:00_hourly\n",
	} {
		assert.Contains(t, s.out.String(), text)
	}
	assert.NotContains(t, s.out.String(), "vm-102")
	require.Equal(t, 0, s.look("explain", "100", "vm-102-disk-0"))
	assert.Contains(t, s.out.String(), "\n\nCRITICAL stale  tank/vm-102-disk-0, guest 102\n")
	require.Equal(t, 0, s.look("explain", "100", "--format", "json"))
	var doc checker.Document
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &doc))
	require.Len(t, doc.Guests, 1)
	assert.Equal(t, "2026-03-29_11:00:00", doc.Guests[0].Point)
	assert.Len(t, doc.Disks, 2)
	require.NotNil(t, doc.Guests[0].Explained)
	assert.Len(t, doc.Guests[0].Explained.Start, 3)
	assert.Contains(t, doc.Guests[0].Explained.Words, "Guest 100 can be started here as of")
	assert.Contains(t, doc.Guests[0].Explained.Facts, checker.FactDocument{Name: "encryption", Text: "none here"})
	assert.Equal(t, 2, s.look("explain", "100", "7", "web01"))
	assert.Contains(t, s.errors.String(), "no disk matches guest 7, guest web01; snapwatch status lists the disks")
}

// Two clusters may each have a guest 100. The commands for the guest 100 of one cluster do not
// touch the clones of the guest 100 of the other cluster. The commands for one restore point do not
// touch the clones of another restore point.
func TestExplainGuestNamesADatasetThatIsFree(t *testing.T) {
	east, west := vm(100, "hourly", 5*time.Minute), vm(100, "hourly", 5*time.Minute)
	east.Name, west.Name, west.GUID, west.Snapshots[0].GUID = "tank/east/vm-100-disk-0", "tank/west/vm-100-disk-0", 1001, 2
	clone := zfstest.Dataset{Name: "tank/start-east-100/vm-100-disk-0", GUID: 77, Creation: noon.Add(-24 * time.Hour).Unix(), Origin: east.Name + "@" + east.Snapshots[0].Name}
	for name, more := range map[string][]zfstest.Dataset{
		"":   nil,
		"-2": {{Name: "tank/start-east-100", GUID: 76, Creation: 1}, clone},
	} {
		s := newSite(t, append(more, east, west)...)
		require.NoError(t, os.WriteFile(s.ConfigPath, []byte("sources:\n- {dataset: tank/east, origin: rpool/data, cluster: east}\n- {dataset: tank/west, origin: rpool/data, cluster: west}\n"), 0o600))
		require.Zero(t, s.look("explain", "100"), s.errors.String())
		for _, of := range []string{"start-east-100" + name, "start-west-100"} {
			assert.Equal(t, 1, strings.Count(s.out.String(), "zfs create tank/"+of+"\n"), of)
			assert.Equal(t, 1, strings.Count(s.out.String(), "zfs destroy -r tank/"+of+"\n"), of)
		}
		assert.Equal(t, 2, strings.Count(s.out.String(), "zfs create "), s.out.String())
		assert.Equal(t, name != "", strings.Contains(s.out.String(), "tank/start-east-100 exists already"))
	}
}
