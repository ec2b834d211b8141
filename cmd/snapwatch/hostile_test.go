package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfstest"
)

// hostile returns datasets that could confuse snapwatch, one dataset for each kind of confusion.
func hostile() []zfstest.Dataset {
	var all []zfstest.Dataset
	for i, seconds := range []int64{0, -1 << 63, 568971820800} {
		d := vm(900+i, "hourly", time.Hour)
		d.Snapshots[0].Creation = seconds
		all = append(all, d)
	}
	labelled := vm(910, "hourly", time.Hour)
	labelled.Labels = map[string][3]string{
		"label:running": {"a\tb\ntank/vm-100-disk-0\tlabel:running\tstopped\treceived", "-", "received"},
		"label:nosnap":  {"on\nrows\t\t\n", "-", "received"},
	}
	foreign := vm(911, "hourly", time.Hour)
	foreign.Snapshots = append(foreign.Snapshots, zfstest.Snapshot{Name: "syncoid_c", GUID: 2, TXG: 2, Creation: noon.Unix()})
	foreign.Many = 200_000
	all = append(all, labelled, foreign)
	for i := range 3000 {
		d := vm(912, "hourly", time.Hour)
		d.Name, d.GUID = fmt.Sprintf("tank/t%d/vm-912-disk-0", i), uint64(10_000+i)
		all = append(all, d)
	}
	for i := range 1000 {
		d := vm(913, "hourly", time.Hour)
		d.Name, d.GUID = fmt.Sprintf("tank/%d%s", i, strings.Repeat("x", 200)), uint64(20_000+i)
		all = append(all, d)
	}
	return all
}

// TestHostileDatasets: hostile datasets do not change the verdict on any ordinary disk, whether
// check reads the disks from zfs or from the cache.
func TestHostileDatasets(t *testing.T) {
	good := []zfstest.Dataset{vm(100, "hourly", time.Hour), vm(101, "stopped", 48*time.Hour), vm(102, "daily", 7*time.Hour)}
	good[0].Snapshots = append(good[0].Snapshots, zfstest.Snapshot{Name: "syncoid_c", GUID: 2, TXG: 2, Creation: noon.Unix()})
	told := func(s *site) map[string]checker.DiskDocument {
		s.check("--format", "json", "-t", "50s")
		var doc checker.Document
		require.NoError(t, json.Unmarshal(s.out.Bytes(), &doc), s.out.String())
		require.Len(t, doc.Pools, 1)
		assert.Empty(t, doc.Pools[0].Problem)
		disks := map[string]checker.DiskDocument{}
		for _, d := range doc.Disks {
			disks[d.Dataset] = d
		}
		return disks
	}
	alone := told(newSite(t, good...))
	s := newSite(t, append(hostile(), good...)...)
	for range 2 {
		beside := told(s)
		assert.Len(t, beside, 3008)
		for name, d := range alone {
			assert.Equal(t, d, beside[name], name)
		}
		for _, id := range []string{"900", "901", "902"} {
			assert.Equal(t, "unreadable", beside["tank/vm-"+id+"-disk-0"].Verdict)
		}
	}
	text, err := os.ReadFile(s.fake.Path("cache/snapwatch/newest.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "tank/vm-100-disk-0")
}
