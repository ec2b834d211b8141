package scan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfstest"
)

// If zfs cannot read one of the requested snapshots and bookmarks, only this one is unknown.
func TestLookupOfWhatCannotBeRead(t *testing.T) {
	strange := func(name string) zfstest.Snapshot {
		s := snapshot(name, 4)
		s.Creation = 568971820800
		return s
	}
	marked := disk("tank/vm-3-disk-0", 3)
	marked.Bookmarks = []zfstest.Snapshot{strange(stopped)}
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{
		pool("tank"), disk("tank/vm-1-disk-0", 1, snapshot(hourly, 1)), disk("tank/vm-2-disk-0", 2, strange(hourly)), marked,
	}})
	found, err := scanner(f).Lookup(t.Context(), "tank", []string{
		"tank/vm-1-disk-0@" + hourly, "tank/vm-1-disk-0@" + older, "tank/vm-2-disk-0@" + hourly, "tank/vm-3-disk-0@" + stopped,
	})
	require.NoError(t, err)
	assert.Equal(t, map[string]Lookup{
		"tank/vm-1-disk-0@" + hourly:  {Presence: checker.AsSnapshot, GUID: 1001, CreateTXG: 1},
		"tank/vm-1-disk-0@" + older:   {Presence: checker.Absent},
		"tank/vm-2-disk-0@" + hourly:  {Problem: "@" + hourly + `: creation: "568971820800" is not a time between 1970 and 9999, in seconds`},
		"tank/vm-3-disk-0@" + stopped: {Problem: "#" + stopped + `: creation: "568971820800" is not a time between 1970 and 9999, in seconds`},
	}, found)
}
