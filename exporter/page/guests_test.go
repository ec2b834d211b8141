package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func snapshot(class zfs.Class, age time.Duration) *zfs.Snapshot {
	at := now.Add(-age)
	return &zfs.Snapshot{Name: zfs.FormatSnapshotName(at, class), GUID: uint64(at.Unix()), CreateTXG: 1, Creation: at}
}

// disk returns a disk whose newest snapshot has the given class and age.
func disk(dataset string, vmid int, class zfs.Class, age time.Duration, change ...func(*checker.Disk)) checker.Disk {
	d := checker.Disk{Dataset: dataset, VMID: vmid, GUID: 7, Created: now.AddDate(-1, 0, 0), ReadAt: now, Newest: snapshot(class, age)}
	d.NewestOfAny = d.Newest.Name
	for _, c := range change {
		c(&d)
	}
	return d
}

// facts returns the facts for the page of a host with the given disks; ago is the time since their
// pool was read.
func facts(ago time.Duration, disks ...checker.Disk) Facts {
	for i := range disks {
		disks[i].ReadAt = now.Add(-ago)
	}
	return Facts{Config: config.Default(), Report: checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: now.Add(-ago), Disks: disks}}, policy(), now)}
}

func policy() checker.Policy {
	p := checker.NewPolicy(config.Default())
	p.MaxDataAge = 10 * time.Minute
	return p
}

// renderPage returns the status page that shows the facts f.
func renderPage(f Facts, q query) *view {
	if q.Sort == "" {
		q.Sort = sorts[0]
	}
	q.Page = max(1, q.Page)
	f.Report = f.Report.WithGuests(policy())
	return newView(f, q)
}

// evidence returns the answer of a disk's owner: age is the age of the owner's newest snapshot,
// ahead the time for which the owner has had snapshots that the copy lacks.
func evidence(d checker.Disk, age, ahead time.Duration) checker.Evidence {
	e := checker.Evidence{Node: "pve1:10191", Owned: checker.Owned, GUID: 1, Dataset: "rpool/data/" + d.Name(), Now: now, Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID}
	if e.Newest = snapshot(zfs.Hourly, age); age == now.Sub(d.Newest.Creation) {
		e.Newest = d.Newest
	}
	if ahead > 0 {
		e.BehindSince = now.Add(-ahead)
	}
	return e
}

func answered(node string) checker.NodeAnswer {
	return checker.NodeAnswer{Node: node, At: now, Now: now}
}

const one = "tank/vm-100-disk-0"

// The column of reasons says about a guest only what the verdict, the age and the other columns do
// not say.
func TestWhyIsWhatIsNew(t *testing.T) {
	lacks := func(d *checker.Disk) { d.Newest, d.NewestOfAny = nil, "" }
	for name, c := range map[string]struct {
		disks []checker.Disk
		why   string
	}{
		"fresh":   {[]checker.Disk{disk(one, 100, zfs.Hourly, time.Minute)}, ""},
		"stale":   {[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour)}, "no newer snapshot has arrived"},
		"pending": {[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour, func(d *checker.Disk) { d.PendingReceive = true })}, "a receive is pending"},
		"one of two is stale": {
			[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour), disk("tank/vm-100-disk-1", 100, zfs.Hourly, time.Minute)},
			"vm-100-disk-0: no newer snapshot has arrived"},
		"both are":    {[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour), disk("tank/vm-100-disk-1", 100, zfs.Hourly, 7*time.Hour)}, "no newer snapshot has arrived"},
		"stopped":     {[]checker.Disk{disk(one, 100, zfs.Stopped, 7*time.Hour)}, unproven},
		"no snapshot": {[]checker.Disk{disk(one, 100, zfs.Hourly, 0, lacks)}, "no snapshot at all since the dataset was made 365d ago"},
		"one cannot be read": {
			[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour, func(d *checker.Disk) { d.Problem = "I/O error" })}, "I/O error"},
		"not listed": {
			[]checker.Disk{disk(one, 100, zfs.Hourly, 7*time.Hour, func(d *checker.Disk) { d.Unlisted = "it takes too long" })},
			zfs.FormatSnapshotName(now.Add(-7*time.Hour), zfs.Hourly) + " is 7h old, and newer snapshots are unknown: it takes too long"},
		"it is broken": {[]checker.Disk{disk(one, 100, zfs.Hourly, 0, func(d *checker.Disk) { d.Damaged = "permanent errors" })}, "permanent errors"},
	} {
		t.Run(name, func(t *testing.T) {
			v := renderPage(facts(0, c.disks...), query{})
			require.NotEmpty(t, v.Rows)
			assert.Equal(t, c.why, v.Rows[0].Why)
		})
	}
}

// If one of two copies of a guest's disk is stale, the guest's row alarms and names the stale copy.
func TestAStaleFurtherCopyIsNamed(t *testing.T) {
	old := disk("tank/old/vm-100-disk-0", 100, zfs.Hourly, 7*time.Hour, func(d *checker.Disk) { d.Looked = &checker.Looked{Same: []string{one}} })
	g := renderPage(facts(0, disk(one, 100, zfs.Hourly, time.Minute), old), query{}).Rows[0]
	assert.Equal(t, "stale", g.Guest.Word)
	assert.Equal(t, checker.Critical, g.Guest.State)
	assert.Equal(t, time.Minute, g.Guest.Age, "the restore point")
	assert.Contains(t, g.Why, "tank/old/vm-100-disk-0: stale 7h (limit 6h)")
}

func TestColumnsOfSites(t *testing.T) {
	d, off := disk(one, 100, zfs.Hourly, 7*time.Hour), disk(one, 100, zfs.Stopped, 96*time.Hour)
	alive := func(hours time.Duration) checker.Evidence {
		e := evidence(off, 96*time.Hour, 0)
		e.Alive, e.AliveSince = true, now.Add(-hours*time.Hour)
		return e
	}
	silent := checker.NodeAnswer{Node: "pve1:10191", Failure: "refused"}
	for name, c := range map[string]struct {
		disk   checker.Disk
		said   []checker.Evidence
		node   checker.NodeAnswer
		words  string
		colour string
		age    time.Duration
	}{
		"in sync":             {d, []checker.Evidence{evidence(d, 7*time.Hour, 0)}, answered("pve1:10191"), "in sync", "", 7 * time.Hour},
		"behind":              {d, []checker.Evidence{evidence(d, 10*time.Minute, time.Hour)}, answered("pve1:10191"), "1h behind", "", 10 * time.Minute},
		"behind beyond":       {d, []checker.Evidence{evidence(d, 10*time.Minute, 3*time.Hour)}, answered("pve1:10191"), "3h behind", "yellow", 10 * time.Minute},
		"behind far beyond":   {d, []checker.Evidence{evidence(d, 10*time.Minute, 7*time.Hour)}, answered("pve1:10191"), "7h behind", "red", 10 * time.Minute},
		"runs, just begun":    {off, []checker.Evidence{alive(0)}, answered("pve1:10191"), "runs there, nothing new for 0s", "", 96 * time.Hour},
		"runs, beyond":        {off, []checker.Evidence{alive(3)}, answered("pve1:10191"), "runs there, nothing new for 3h", "red", 96 * time.Hour},
		"runs, far beyond":    {off, []checker.Evidence{alive(7)}, answered("pve1:10191"), "runs there, nothing new for 7h", "red", 96 * time.Hour},
		"is off there":        {off, []checker.Evidence{evidence(off, 96*time.Hour, 0)}, answered("pve1:10191"), "in sync", "", 96 * time.Hour},
		"says nothing":        {d, nil, answered("pve1:10191"), "", "", 0},
		"does not answer":     {d, nil, silent, "no answer", "purple", 0},
		"answered last":       {d, []checker.Evidence{{Node: "pve1:10191", Failure: "refused"}}, silent, "no answer", "purple", 0},
		"does not have it":    {d, []checker.Evidence{{Node: "pve1:10191", Owned: checker.NotOwned}}, answered("pve1:10191"), "", "", 0},
		"a copy there":        {d, []checker.Evidence{{Node: "pve1:10191", Replica: true, Newest: snapshot(zfs.Hourly, time.Hour)}}, answered("pve1:10191"), "a copy, too", "", time.Hour},
		"does not know whose": {d, []checker.Evidence{{Node: "pve1:10191", Owned: checker.OwnershipUnknown}}, answered("pve1:10191"), "not known", "purple", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts(0, c.disk)
			f.Report = f.Report.WithOwners(policy(), map[string][]checker.Evidence{one: c.said}, c.node)
			v := renderPage(f, query{})
			assert.Equal(t, []string{"Age on pve1"}, v.Sites)
			for _, r := range v.Rows { // the guest's row and the row of its disk
				require.Len(t, r.Sites, 1)
				cell := r.Sites[0][0]
				assert.Equal(t, c.words, cell.Words)
				assert.Equal(t, c.colour, cell.Colour())
				assert.Equal(t, c.age, cell.Age)
				assert.Equal(t, strings.HasSuffix(c.words, " behind"), strings.Contains(cell.Title, "; counted from the first snapshot that has not arrived"), cell.Title)
			}
		})
	}
}

// If a guest runs on its owner's node, but is off according to its copies, its row alarms in red
// once the limit has passed; only the owner's answer shows this.
func TestTheBlindSpotIsARedRow(t *testing.T) {
	off := disk(one, 100, zfs.Stopped, 96*time.Hour)
	f := facts(0, off)
	require.Equal(t, checker.OK, renderPage(f, query{}).Rows[0].Guest.State, "without an owner it is silent")
	e := evidence(off, 96*time.Hour, 0)
	e.Alive, e.AliveSince = true, now.Add(-7*time.Hour)
	f.Report = f.Report.WithOwners(policy(), map[string][]checker.Evidence{one: {e}}, answered("pve1:10191"))
	r := renderPage(f, query{}).Rows[0]
	assert.Equal(t, "red", r.Guest.Colour())
	assert.Equal(t, "the guest has run on pve1 for 7h and got no snapshot there: the newest snapshot here is from when the guest was off", r.Why)
	assert.Nil(t, r.Guest.Limit().Range, "a limit beside the age of the _stopped would be read as that one's")
}

// If a guest runs on its owner's node and gets snapshots there, but its copies show a guest that is
// off, the guest's row alarms in red.
func TestTheBlindSpotWhereSnapshotsDoNotArrive(t *testing.T) {
	off := disk(one, 100, zfs.Stopped, 96*time.Hour)
	f := facts(0, off)
	e := evidence(off, 10*time.Minute, 7*time.Hour)
	e.Alive, e.AliveSince = true, now.Add(-7*time.Hour)
	f.Report = f.Report.WithOwners(policy(), map[string][]checker.Evidence{one: {e}}, answered("pve1:10191"))
	r := renderPage(f, query{}).Rows[0]
	assert.Equal(t, "red", r.Guest.Colour())
	assert.Equal(t, "runs there, 7h behind", r.Sites[0][0].Words)
	assert.Equal(t, "the guest runs on pve1, but its new snapshots do not arrive here: the newest snapshot here is from when the guest was off", r.Why)
}

func TestManySitesShareAColumn(t *testing.T) {
	d := disk(one, 100, zfs.Hourly, 7*time.Hour)
	f := facts(0, d)
	nodes := []checker.NodeAnswer{answered("pve1:10191")}
	for i := range maxSites {
		nodes = append(nodes, answered(fmt.Sprintf("other%d:10191", i)))
	}
	f.Report = f.Report.WithOwners(policy(), map[string][]checker.Evidence{one: {evidence(d, 10*time.Minute, 3*time.Hour)}}, nodes...)
	v := renderPage(f, query{})
	assert.Equal(t, []string{"Other sites"}, v.Sites)
	require.Len(t, v.Rows[0].Sites, 1)
	require.Len(t, v.Rows[0].Sites[0], 1, "only those that say something")
	assert.Equal(t, "pve1", v.Rows[0].Sites[0][0].Site)
	assert.True(t, v.Grouped, "each names its site")
	assert.Equal(t, 5, v.Columns)
}

// A guest of an owner without any copy here has a row on the page, with the names of its disks.
func TestAbsentGuestsHaveARow(t *testing.T) {
	f := facts(0, disk(one, 100, zfs.Hourly, time.Minute))
	node := answered("pve1:10191")
	node.Guests = []checker.OwnedGuest{{VMID: 200, Name: "mail", Alive: true, Disks: []checker.OwnedDisk{
		{Dataset: "rpool/data/vm-200-disk-0", Created: now.AddDate(0, 0, -2), Newest: now.Add(-5 * time.Minute)},
	}}}
	f.Report = f.Report.WithOwners(policy(), nil, node)
	v := renderPage(f, query{Guest: 200})
	require.Len(t, v.Rows, 3)
	g := v.Rows[0]
	assert.Equal(t, "mail", g.Guest.Name)
	assert.Equal(t, "0 of 1 disk", g.Guest.DisksWords())
	assert.True(t, g.Guest.Never())
	assert.Equal(t, "not here", g.Sites[0][0].Words)
	assert.Equal(t, 5*time.Minute, g.Sites[0][0].Age)
	assert.Equal(t, "rpool/data/vm-200-disk-0", v.Rows[1].Lacking)
	assert.Equal(t, "rpool/data/vm-200-disk-0", renderPage(f, query{Text: "rpool/data/vm-200"}).Rows[1].Lacking, "it is found by what is not here")
}

// If a pool can no longer be read, the page orders the guests by their verdicts at the last
// reading. Guests that were stale come first, and among them the guest with the oldest snapshot.
func TestUnreadableGuestsByWhatWasKnown(t *testing.T) {
	f := facts(20*time.Minute,
		disk(one, 100, zfs.Hourly, time.Hour), disk("tank/vm-101-disk-0", 101, zfs.Hourly, 4*time.Hour), disk("tank/vm-102-disk-0", 102, zfs.Hourly, 8*time.Hour),
		disk("tank/vm-103-disk-0", 103, zfs.Hourly, 3*time.Hour), disk("tank/vm-104-disk-0", 104, zfs.Stopped, 96*time.Hour))
	v := renderPage(f, query{})
	var order []int
	for _, r := range v.Rows {
		require.Equal(t, checker.Unknown, r.Guest.State)
		order = append(order, r.Guest.VMID)
	}
	assert.Equal(t, []int{102, 101, 103, 104, 100}, order)
	assert.Equal(t, "was stale 7h40m when last read, 20m ago", v.Rows[0].Why)
	assert.Equal(t, "was fresh 40m when last read, 20m ago", v.Rows[4].Why)
	assert.Equal(t, "Of 5 disks 3 alarmed then.", whenRead(f, "tank"))
	assert.Empty(t, whenRead(facts(time.Minute, disk(one, 100, zfs.Hourly, 8*time.Hour)), "tank"), "what was read still counts")
}

func TestGuestsThatAreWellAreOneLine(t *testing.T) {
	disks := []checker.Disk{
		disk("tank/vm-999-disk-0", 999, zfs.Hourly, 7*time.Hour), disk("tank/vm-997-disk-0", 997, zfs.Hourly, 3*time.Hour), disk("tank/vm-998-disk-0", 998, zfs.Stopped, time.Hour),
	}
	for i := range 98 {
		disks = append(disks, disk(fmt.Sprintf("tank/vm-%d-disk-0", 100+i), 100+i, zfs.Hourly, time.Minute))
	}
	v := renderPage(facts(0, disks...), query{})
	require.Len(t, v.Rows, 2, "those that alarm")
	require.NotNil(t, v.Fold)
	assert.Equal(t, fold{Count: 99, Words: "98 whole, 1 stopped", Link: "?ok=show"}, *v.Fold)
	assert.Len(t, renderPage(facts(0, disks...), query{Well: true}).Rows, 101)
	assert.Equal(t, "?", renderPage(facts(0, disks...), query{Well: true}).Fold.Link)
	assert.Len(t, renderPage(facts(0, disks...), query{Guest: 120}).Rows, 4, "one that is open is shown, with its disk")
	for _, q := range []query{{Text: "vm-1"}, {State: "OK"}, {Verdict: "whole"}, {Pool: "tank"}, {Sort: "guest"}} {
		v := renderPage(facts(0, disks...), q)
		assert.Nil(t, v.Fold, "%+v: who asks is not told to ask again", q)
		assert.Greater(t, len(v.Rows), 90)
	}
	few := renderPage(facts(0, disks[3:3+maxWell]...), query{})
	assert.Nil(t, few.Fold)
	assert.Len(t, few.Rows, maxWell)
}

// The opened row of a guest says whether the guest can be started here, where the guest's snapshots
// got stuck, and how to repair the replication.
func TestAnOpenGuestSaysWhatToDo(t *testing.T) {
	d := disk(one, 100, zfs.Hourly, 7*time.Hour)
	f := facts(0, d)
	about := renderPage(f, query{}).Rows[0].About
	require.NotNil(t, about, "the only one is open")
	assert.Contains(t, about.Words[0], "Guest 100 can be started here as of 2026-03-29 05:00:00, 7h ago")
	assert.Equal(t, "not known: no other site was asked (--owners URL,…)", about.Broken)
	assert.Contains(t, about.Next, "look at the job that sends to this host, and its log")
	f.Own = func(checker.Disk) bool { return true }
	about = renderPage(f, query{}).Rows[0].About
	assert.Contains(t, about.Next[0], "snapwatch snap --dry-run -v", "of a guest of this host")
	assert.Equal(t, "no newer snapshot was taken here", renderPage(f, query{}).Rows[0].Why)
}

// If a scan was unfinished when the report was made, but has ended before the page is made, the
// page shows no fault.
func TestAListingThatEndsMeanwhile(t *testing.T) {
	f := facts(time.Second, disk(one, 100, zfs.Hourly, time.Hour))
	pool := &f.Report.Pools[0]
	pool.Unfinished, pool.Problem, pool.Reason = true, "the listing is not finished", "the listing is not finished"
	f.Listings = map[string]Listings{"tank": {Past: []Listing{{Begun: now}}}}
	assert.Empty(t, renderPage(f, query{}).Bars)
	f.Listings["tank"] = Listings{Begun: now.Add(-time.Minute)}
	assert.Len(t, renderPage(f, query{}).Bars, 1, "one that takes long is")
}

// A guest's row names the limit that the guest's age exceeds: warning or critical.
func TestARowNamesItsLimit(t *testing.T) {
	for age, want := range map[time.Duration]string{3 * time.Hour: "warning", 7 * time.Hour: "critical"} {
		g := renderPage(facts(0, disk(one, 100, zfs.Hourly, age)), query{}).Rows[0].Guest
		require.NotNil(t, g.Limit().Range)
		assert.Equal(t, want, g.LimitName())
	}
}
