package snapper

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// createdIn returns a snapshot or bookmark that was created in transaction group txg.
func createdIn(txg uint64) zfs.Snapshot {
	at := at2("07-10 00:00").Add(time.Duration(txg) * time.Hour)
	return zfs.Snapshot{Dataset: disk0, Name: zfs.FormatSnapshotName(at, zfs.Daily), GUID: 1000 + txg, CreateTXG: txg, Creation: at}
}

func ofAll(txgs ...uint64) []zfs.Snapshot {
	var list []zfs.Snapshot
	for _, txg := range txgs {
		list = append(list, createdIn(txg))
	}
	return list
}

func back(base, txg uint64) zfs.SetBack { return zfs.SetBack{Dataset: disk0, Base: base, TXG: txg} }

// The pool's history alone shows which bookmarks belong to a discarded history.
func TestJudgeBookmarks(t *testing.T) {
	for name, test := range map[string]struct {
		history   zfs.History
		snapshots []uint64
		// The map `want` has, by transaction group, the standing that a bookmark must get. A
		// bookmark without an entry in `want` must be good.
		want map[uint64]Standing
	}{
		"no set-back":                      {zfs.History{Since: 1}, []uint64{10, 40}, nil},
		"all snapshots destroyed by hand":  {zfs.History{Since: 1}, []uint64{45}, nil},
		"a receive onto the newest":        {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(30, 35)}}, []uint64{35}, nil},
		"set back to 10":                   {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 35)}}, []uint64{10, 35, 40}, map[uint64]Standing{20: Discarded, 30: Discarded}},
		"set back, and its base rotated":   {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 35)}}, []uint64{45}, map[uint64]Standing{20: Discarded, 30: Discarded}},
		"twice":                            {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 15), back(20, 35)}}, []uint64{10, 35}, map[uint64]Standing{30: Discarded}},
		"another dataset's":                {zfs.History{Since: 1, SetBacks: []zfs.SetBack{{Dataset: disk1, Base: 10, TXG: 35}}}, []uint64{10}, nil},
		"the history reaches back to 20":   {zfs.History{Since: 20}, []uint64{45}, map[uint64]Standing{10: Unproven}},
		"to 30, and tells enough":          {zfs.History{Since: 30, SetBacks: []zfs.SetBack{back(10, 35)}}, []uint64{35}, map[uint64]Standing{10: Unproven, 20: Discarded, 30: Discarded}},
		"a snapshot from between is there": {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 35)}}, []uint64{25}, map[uint64]Standing{20: Unproven, 30: Unproven}},
		"received again since":             {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 35)}, Received: []zfs.Received{{Dataset: disk0, Name: createdIn(20).Name, TXG: 36}, {Dataset: disk1, Name: createdIn(30).Name, TXG: 36}}}, []uint64{10, 35}, map[uint64]Standing{20: Unproven, 30: Discarded}},
		"received before":                  {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 35)}, Received: []zfs.Received{{Dataset: disk0, Name: createdIn(20).Name, TXG: 34}}}, []uint64{10, 35}, map[uint64]Standing{20: Discarded, 30: Discarded}},
		"bookmarked in the same group":     {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 20)}}, []uint64{10}, map[uint64]Standing{20: Unproven}},
		"of what was received there":       {zfs.History{Since: 1, SetBacks: []zfs.SetBack{back(10, 20)}, Received: []zfs.Received{{Dataset: disk0, Name: createdIn(20).Name, TXG: 20}}}, []uint64{10}, nil},
		"promoted at 25":                   {zfs.History{Since: 1, Breaks: map[string]zfs.Break{disk0: {TXG: 25}}, SetBacks: []zfs.SetBack{back(5, 24)}}, []uint64{40}, map[uint64]Standing{10: Unproven, 20: Unproven}},
		"promoted, then set back":          {zfs.History{Since: 1, Breaks: map[string]zfs.Break{disk0: {TXG: 25}}, SetBacks: []zfs.SetBack{back(15, 35)}}, []uint64{40}, map[uint64]Standing{10: Unproven, 20: Discarded, 30: Discarded}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, j := range JudgeBookmarks(disk0, ofAll(10, 20, 30, 40), ofAll(test.snapshots...), test.history) {
				assert.Equal(t, test.want[j.CreateTXG], j.Standing, "%d: %s", j.CreateTXG, j.Reason)
				assert.NotEmpty(t, j.Reason)
			}
		})
	}
}

// The record of an earlier run in state.json decides which bookmarks may belong to a discarded
// history.
func TestInQuestion(t *testing.T) {
	txgs := func(list []zfs.Snapshot) (got []uint64) {
		for _, b := range list {
			got = append(got, b.CreateTXG)
		}
		return got
	}
	for name, test := range map[string]struct {
		checked   report.Checked
		snapshots []uint64
		change    func(*Disk)
		want      []uint64
	}{
		"nothing is known":                       {report.Checked{}, []uint64{30, 40}, nil, []uint64{10, 20}},
		"the newest from then is there":          {report.Checked{GUID: 7, TXG: 40}, []uint64{40, 50}, nil, nil},
		"rotated, but one from then is there":    {report.Checked{GUID: 7, TXG: 40}, []uint64{35, 50}, nil, []uint64{40}},
		"nothing from then is there":             {report.Checked{GUID: 7, TXG: 40}, []uint64{50}, nil, []uint64{10, 20, 30, 40}},
		"a bookmark since, without its snapshot": {report.Checked{GUID: 7, TXG: 35}, []uint64{35, 50}, nil, []uint64{40}},
		"another dataset":                        {report.Checked{GUID: 8, TXG: 40}, []uint64{40}, nil, []uint64{10, 20, 30}},
		"promoted since":                         {report.Checked{GUID: 7, TXG: 40}, []uint64{40}, func(d *Disk) { d.Origin = "tank/x@y" }, []uint64{10, 20, 30}},
		"the pool was rewound":                   {report.Checked{GUID: 7, TXG: 40}, []uint64{35}, func(d *Disk) { d.PoolTXG = 39 }, []uint64{10, 20, 30, 40}},
		"the pool is still used":                 {report.Checked{GUID: 7, TXG: 40}, []uint64{40}, func(d *Disk) { d.PoolTXG = 40 }, nil},
		"the pool does not tell its txg":         {report.Checked{GUID: 7, TXG: 40}, []uint64{40}, func(d *Disk) { d.PoolTXG = 0 }, []uint64{10, 20, 30}},
		"nothing changed":                        {report.Checked{GUID: 7, TXG: 5, Changed: 9, Newest: "x"}, nil, func(d *Disk) { d.SnapshotsChanged, d.NewestSnapshot = 9, "x" }, nil},
		"another newest":                         {report.Checked{GUID: 7, TXG: 5, Changed: 9, Newest: "x"}, nil, func(d *Disk) { d.SnapshotsChanged, d.NewestSnapshot = 9, "y" }, []uint64{10, 20, 30, 40}},
		"changed since":                          {report.Checked{GUID: 7, TXG: 5, Changed: 9, Newest: "x"}, nil, func(d *Disk) { d.SnapshotsChanged, d.NewestSnapshot = 10, "x" }, []uint64{10, 20, 30, 40}},
		"nothing changed, in another dataset":    {report.Checked{GUID: 8, TXG: 5, Changed: 9, Newest: "x"}, nil, func(d *Disk) { d.SnapshotsChanged, d.NewestSnapshot = 9, "x" }, []uint64{10, 20, 30, 40}},
		"ignored":                                {report.Checked{}, []uint64{50}, func(d *Disk) { d.Ignored = "ignored" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := runningDisk(disk0, words("f4"))
			d.GUID, d.PoolTXG, d.Checked, d.Snapshots, d.Bookmarks = 7, 100, test.checked, ofAll(test.snapshots...), ofAll(10, 20, 30, 40)
			d.Bookmarks = append(d.Bookmarks, zfs.Snapshot{Name: "zrepl_1", GUID: 1, CreateTXG: 60})
			if test.change != nil {
				test.change(&d)
			}
			assert.Equal(t, test.want, txgs(d.InQuestion()))
		})
	}
}

func TestAbandon(t *testing.T) {
	d := runningDisk(disk0, words("f4"))
	d.GUID, d.PoolTXG, d.State, d.Snapshots, d.Bookmarks = 7, 100, Elsewhere, ofAll(10, 45), ofAll(5, 10, 20, 30)
	d.History = &zfs.History{Since: 8, SetBacks: []zfs.SetBack{back(10, 35)}}
	plan := MakePlan([]Disk{d}, testPolicy(), noon)
	require.Len(t, plan.Abandoned, 2)
	assert.Equal(t, []string{createdIn(20).Name, createdIn(30).Name}, []string{plan.Abandoned[0].Name, plan.Abandoned[1].Name})
	assert.Equal(t, []string{"07-11 21:00"}, markNames(plan.CreateBookmarks), "a day's bookmark that went leaves room for another")
	require.Equal(t, report.Warning, plan.Notes[0].Severity)
	assert.Equal(t, disk0+": 1 bookmark may be of a discarded history, from which nothing must be sent: the pool's history reaches back to txg 8 only, and the bookmark is of txg 5; left alone; if the disk was set back since (zfs rollback, or zfs receive -F over newer snapshots of its own), type: zfs destroy '"+disk0+"#"+createdIn(5).Name+"'", plan.Notes[0].Reason)

	next, moved := d.NextChecked(0, false)
	assert.True(t, moved)
	assert.Equal(t, report.Checked{GUID: 7, TXG: 45, Own: 45, Elsewhere: true, Unproven: []report.Unproven{{Name: createdIn(5).Name, GUID: 1005, Reason: "the pool's history reaches back to txg 8 only, and the bookmark is of txg 5"}}}, next)
	stays := func(when string) {
		t.Helper()
		kept, moved := d.NextChecked(0, false)
		assert.Equal(t, d.Checked, kept, when)
		assert.False(t, moved, when)
	}
	_, moved = d.NextChecked(0, true)
	assert.False(t, moved, "what could not be destroyed is looked for again")
	unread := d
	unread.Bookmarks, unread.BookmarksUnread = nil, true
	_, moved = unread.NextChecked(0, false)
	assert.False(t, moved, "what could not be listed is looked for again")

	d.Checked, d.History, d.Bookmarks = next, nil, ofAll(5, 10)
	plan = MakePlan([]Disk{d}, testPolicy(), noon)
	assert.Empty(t, plan.Abandoned)
	assert.Contains(t, plan.Notes[0].Reason, "may be of a discarded history", "each run warns, without looking again")
	again, _ := d.NextChecked(0, false)
	assert.Equal(t, next.Unproven, again.Unproven)
	d.Bookmarks = ofAll(10)
	assert.NotContains(t, MakePlan([]Disk{d}, testPolicy(), noon).Notes[0].Reason, "discarded", "until it is gone")
	again, _ = d.NextChecked(0, false)
	assert.Empty(t, again.Unproven)

	d.Bookmarks, d.Checked, d.HistoryProblem = ofAll(20), report.Checked{GUID: 7, TXG: 5, Own: 45, Elsewhere: true}, "it hangs"
	plan = MakePlan([]Disk{d}, testPolicy(), noon)
	assert.Empty(t, plan.Abandoned, "what was not read proves nothing")
	assert.Contains(t, plan.Notes[0].Reason, "it hangs")
	stays("and is read again")

	d.Ignored = "ignored"
	assert.Empty(t, MakePlan([]Disk{d}, testPolicy(), noon).Abandoned)
	stays("ignored")
}

// One run destroys at most maxAbandoned bookmarks of discarded histories. The run reports the
// bookmarks beyond maxAbandoned, and the next run finds these bookmarks again.
func TestAbandonedAreBounded(t *testing.T) {
	var disks []Disk
	for n := range 3 {
		d := runningDisk("tank/data/vm-10"+string(rune('0'+n))+"-disk-0", words("f4"))
		d.GUID, d.PoolTXG, d.State, d.Snapshots = 7, 1000, Elsewhere, ofAll(10)
		for txg := range uint64(100) {
			d.Bookmarks = append(d.Bookmarks, createdIn(11+txg))
		}
		d.History = &zfs.History{Since: 1, SetBacks: []zfs.SetBack{{Dataset: d.Name, Base: 10, TXG: 500}}}
		disks = append(disks, d)
	}
	plan := MakePlan(disks, testPolicy(), noon)
	assert.Len(t, plan.Abandoned, maxAbandoned)
	assert.Contains(t, plan.AbandonedLater, disks[2].Name)
	assert.NotContains(t, plan.AbandonedLater, disks[0].Name)
	last := plan.Notes[len(plan.Notes)-1]
	assert.Equal(t, report.Warning, last.Severity)
	assert.Contains(t, last.Reason, "100 more bookmarks of discarded histories")
}
