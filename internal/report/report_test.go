package report

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := LoadFile(dir, Name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Last(dir, Name)
	require.NoError(t, err, "the first run has none before it")

	run := Run{Node: "pve1", Start: time.Unix(1000, 0).UTC(), Success: true, Counts: map[Event]int{}}
	run.Add(Warning, "disk %s", "a")
	require.NoError(t, run.Save(dir, Name))
	loaded, err := LoadFile(dir, Name)
	require.NoError(t, err)
	assert.Equal(t, run, loaded)
	info, err := os.Stat(filepath.Join(dir, Name))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o644), info.Mode().Perm(), "the exporter runs as another user")

	require.NoError(t, os.WriteFile(filepath.Join(dir, Name), []byte("{"), 0o644))
	_, err = Last(dir, Name)
	assert.ErrorContains(t, err, filepath.Join(dir, Name))

	half := `{"last_success":"1999-12-31T23:00:00Z","quiesced":[{"vmid":100}],"locked":{"of":3}}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, Name), []byte(half), 0o644))
	loaded, err = Last(dir, Name)
	require.ErrorContains(t, err, filepath.Join(dir, Name))
	assert.Equal(t, Run{}, loaded, "all of it or nothing")
}

func TestSuccessBefore(t *testing.T) {
	now := time.Unix(1000, 0)
	assert.Equal(t, now, (&Run{LastSuccess: now}).SuccessBefore(now))
	assert.Zero(t, (&Run{LastSuccess: now.Add(time.Second)}).SuccessBefore(now))
	assert.Zero(t, (&Run{}).SuccessBefore(now))
}

func TestFailedAndNothing(t *testing.T) {
	run := Run{Counts: map[Event]int{}}
	run.Add(Notice, "a hold")
	assert.False(t, run.Failed())
	run.Add(Warning, "ENOSPC")
	assert.True(t, run.Failed())
	assert.Equal(t, 1, run.Counts[DidFail])

	assert.True(t, run.Nothing())
	run.Pools = []Pool{{Pool: "tank", Error: "suspended"}, {Pool: "ssd", LockedSince: time.Unix(1, 0)}}
	assert.True(t, run.Nothing())
	run.Pools = append(run.Pools, Pool{Pool: "hdd"})
	assert.False(t, run.Nothing())
}

func TestUncoveredByKind(t *testing.T) {
	run := Run{
		Unprotected: []Unprotected{{Kind: OtherStorage}, {Kind: OtherStorage}, {Kind: OtherName}},
		Disks:       []Disk{{Result: "snapshot"}, {Result: ResultUnprotected}, {Result: ResultUnprotected, Error: "ENOSPC"}},
	}
	assert.Equal(t, map[Kind]int{OtherStorage: 2, OtherName: 1, NotTouched: 1, Failed: 1}, run.UnprotectedByKind())
}

// The time between two starts by cron decides from which age the last run of snap or prune counts
// as late.
func TestLimits(t *testing.T) {
	assert.Equal(t, 45*time.Minute, SnapLimit(0), "as often as we register it")
	assert.Equal(t, 6*time.Hour, PruneLimit(0))
	assert.Equal(t, 3*time.Hour, SnapLimit(time.Hour))
	assert.Equal(t, 52*time.Hour, PruneLimit(24*time.Hour))
}
