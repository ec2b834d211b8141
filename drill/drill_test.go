package drill

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

var now = time.Date(2026, time.July, 15, 12, 7, 0, 0, time.UTC)

const (
	disk0 = "tank/data/vm-100-disk-0"
	disk1 = "fast/vm-100-disk-1"
)

// taken returns a managed snapshot of a disk that was made so long ago.
func taken(dataset string, class zfs.Class, ago time.Duration) zfs.Snapshot {
	at := now.Add(-ago)
	return zfs.Snapshot{Dataset: dataset, Name: zfs.FormatSnapshotName(at, class), GUID: uint64(at.Unix()), CreateTXG: uint64(at.Unix()), Creation: at}
}

// history returns the snapshots of a disk: one of the class in each step, from first ago to last ago.
func history(dataset string, class zfs.Class, first, last, step time.Duration) []zfs.Snapshot {
	var all []zfs.Snapshot
	for ago := first; ago >= last; ago -= step {
		all = append(all, taken(dataset, class, ago))
	}
	return all
}

func guest(disks ...Disk) Guest { return Guest{VMID: 100, Name: "100 (web)", Disks: disks} }

func TestPlan(t *testing.T) {
	at := taken(disk0, zfs.Hourly, 7*time.Minute)
	other := taken(disk1, zfs.Hourly, 7*time.Minute)
	folder := taken("tank/ct/subvol-100-disk-0", zfs.Hourly, 7*time.Minute)
	p := NewPlan(guest(Disk{Dataset: disk1, At: other}, Disk{Dataset: disk0, At: at}, Disk{Dataset: folder.Dataset, At: folder, Filesystem: true}), now)
	assert.Equal(t, []string{"fast/snapwatch-drill", "fast/snapwatch-drill/g100", "tank/snapwatch-drill", "tank/snapwatch-drill/g100"}, p.Parents)
	assert.Equal(t, []Clone{
		{Snapshot: disk1 + "@" + other.Name, Dataset: "fast/snapwatch-drill/g100/d-0", Device: "/dev/zvol/fast/snapwatch-drill/g100/d-0"},
		{Snapshot: disk0 + "@" + at.Name, Dataset: "tank/snapwatch-drill/g100/d-1", Device: "/dev/zvol/tank/snapwatch-drill/g100/d-1"},
		{Snapshot: folder.FullName(), Dataset: "tank/snapwatch-drill/g100/d-2", Filesystem: true},
	}, p.Clones)
	assert.Equal(t, []string{"fast", "tank"}, p.Pools())
	assert.Equal(t, []string{"zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none", "-o", "com.sun:auto-snapshot=false", "tank/snapwatch-drill"}, Create(p.Parents[2]))
	assert.Equal(t, []string{"zfs", "clone", "-o", "volmode=dev", "-o", "readonly=off", "-o", "com.sun:auto-snapshot=false", "-o", "snapwatch:drill=g100 2026-07-15T12:07:00Z", p.Clones[0].Snapshot, p.Clones[0].Dataset}, p.Clone(p.Clones[0]))
	assert.Equal(t, []string{"zfs", "clone", "-o", "canmount=noauto", "-o", "mountpoint=legacy", "-o", "readonly=on", "-o", "com.sun:auto-snapshot=false", "-o", "snapwatch:drill=g100 2026-07-15T12:07:00Z", folder.FullName(), p.Clones[2].Dataset}, p.Clone(p.Clones[2]))
	assert.Equal(t, []string{"zfs", "destroy", "tank/snapwatch-drill/g100/d-1"}, Destroy(p.Clones[1].Dataset))
	for _, c := range p.Clones {
		_, _, isDisk := zfs.ParseDiskName(zfs.Base(c.Dataset))
		assert.False(t, isDisk, c.Dataset)
		assert.True(t, zfs.InDrill(c.Dataset), c.Dataset)
		vmid, ok := marked(zfs.Drilled{Name: c.Dataset, Mark: mark(100, now)})
		assert.True(t, ok && vmid == 100, "a later run must find %s", c.Dataset)
	}
}

// udev replaces blanks in the paths of devices.
func TestPlanOfAPoolWithABlank(t *testing.T) {
	p := NewPlan(guest(Disk{Dataset: "my pool/vm-100-disk-0", At: taken("my pool/vm-100-disk-0", zfs.Hourly, time.Minute)}), now)
	assert.Equal(t, "/dev/zvol/my+pool/snapwatch-drill/g100/d-0", p.Clones[0].Device)
}

// A disk whose key is not loaded is no refusal: nobody can look at it.
func TestPlanWithoutAKey(t *testing.T) {
	at := taken(disk0, zfs.Hourly, time.Minute)
	p := NewPlan(guest(Disk{Dataset: disk0, At: at, EncryptionRoot: "tank/data"}, Disk{Dataset: disk0, At: at, EncryptionRoot: "tank/data"}), now)
	assert.Equal(t, []string{"tank/data"}, p.Locked)
}

func keeps(words string) snapper.Retention {
	k, err := config.ParseKeep(strings.Fields(words))
	if err != nil {
		panic(err)
	}
	return snapper.RetentionOf(k)
}

func TestRefuse(t *testing.T) {
	const quarter = 15 * time.Minute
	many := history(disk0, zfs.Frequently, 6*time.Hour+7*time.Minute, 7*time.Minute, quarter)
	newest := many[len(many)-1]
	stopped := taken(disk0, zfs.Stopped, 48*time.Hour)
	base := func() (Guest, Facts) {
		return guest(Disk{Dataset: disk0, At: newest}), Facts{
			Pools: map[string]Pool{"tank": {Size: 1000, Allocated: 799}}, FillWarning: 80, StoppedGrace: 24 * time.Hour,
			Snapshots: map[string][]zfs.Snapshot{disk0: many},
		}
	}
	for name, c := range map[string]struct {
		change func(*Guest, *Facts)
		why    string
	}{
		"all is well":           {func(*Guest, *Facts) {}, ""},
		"a full pool":           {func(_ *Guest, f *Facts) { f.Pools["tank"] = Pool{1000, 800} }, "pool tank is 80% full (limit 80%, limits.fill_warning)"},
		"a full pool, no limit": {func(_ *Guest, f *Facts) { f.Pools["tank"], f.FillWarning = Pool{1000, 1000}, 0 }, ""},
		"an unknown pool":       {func(_ *Guest, f *Facts) { delete(f.Pools, "tank") }, "it is unknown how full pool tank is"},
		"a receive":             {func(_ *Guest, f *Facts) { f.Receiving = []string{disk0} }, disk0 + " is being received, or waits for an interrupted receive"},
		"a receive elsewhere":   {func(_ *Guest, f *Facts) { f.Receiving = []string{disk1} }, ""},
		"another doubt":         {func(_ *Guest, f *Facts) { f.Doubts = []string{"zfs hangs"} }, "zfs hangs"},
		"a young copy": {func(_ *Guest, f *Facts) { f.Snapshots[disk0] = many[len(many)-4:] },
			"it is unknown whether the source keeps " + newest.FullName() + " until it is 1h7m old: no older snapshot here shows that the source keeps frequently ones for so long"},
		"older ones are each the first of an hour": {func(g *Guest, f *Facts) {
			f.Snapshots[disk0] = append(history(disk0, zfs.Frequently, 6*time.Hour+6*time.Minute, 66*time.Minute, time.Hour), newest)
		}, "it is unknown whether the source keeps"},
		"older ones of another class": {func(g *Guest, f *Facts) {
			f.Snapshots[disk0] = append(history(disk0, zfs.Hourly, 6*time.Hour, time.Hour, time.Hour), newest)
		}, "it is unknown whether the source keeps"},
		"an hourly one among frequent ones": {func(g *Guest, f *Facts) {
			g.Disks[0].At = taken(disk0, zfs.Hourly, 7*time.Minute)
			f.Snapshots[disk0] = append(many[:len(many)-1:len(many)-1], g.Disks[0].At)
		}, ""},
		"a longer drill": {func(_ *Guest, f *Facts) { f.MaxDrill = 7 * time.Hour },
			"it is unknown whether the source keeps " + newest.FullName() + " until it is 7h7m old"},
		"a shorter drill of a young copy": {func(_ *Guest, f *Facts) { f.MaxDrill, f.Snapshots[disk0] = 5*time.Minute, many[len(many)-4:] }, ""},
		"prune keeps few for a shorter drill": {func(_ *Guest, f *Facts) {
			f.MaxDrill, f.Prunes = 5*time.Minute, map[string][]snapper.Retention{disk0: {keeps("f2")}}
		}, ""},
		"prune keeps many": {func(_ *Guest, f *Facts) { f.Prunes = map[string][]snapper.Retention{disk0: {keeps("f48")}} }, ""},
		"prune keeps few": {func(_ *Guest, f *Facts) {
			f.Prunes = map[string][]snapper.Retention{disk0: {keeps("f48"), keeps("f2")}}
		}, "prune may destroy " + newest.FullName() + " within 1h: "},
		"not managed":      {func(g *Guest, _ *Facts) { g.Disks[0].At.Name = "before-update" }, "is not managed"},
		"stopped for long": {func(g *Guest, f *Facts) { g.Disks[0].At = stopped; f.Snapshots[disk0] = []zfs.Snapshot{stopped} }, "no owner answers that it is the newest one"},
		"stopped, its owner answers": {func(g *Guest, f *Facts) {
			g.Disks[0].At, g.Disks[0].IsOwners = stopped, true
			f.Snapshots[disk0] = []zfs.Snapshot{stopped}
		}, ""},
		"stopped, its owner answers, but keeps none": {func(g *Guest, f *Facts) {
			g.Disks[0].At, g.Disks[0].IsOwners, f.StoppedGrace = stopped, true, time.Hour
			f.Snapshots[disk0] = []zfs.Snapshot{stopped}
		}, "it is unknown whether its source still needs"},
		"stopped a moment ago": {func(g *Guest, f *Facts) {
			g.Disks[0].At = taken(disk0, zfs.Stopped, time.Hour)
			f.Snapshots[disk0] = []zfs.Snapshot{g.Disks[0].At}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, f := base()
			c.change(&g, &f)
			p := NewPlan(g, now).Refuse(f, now)
			assert.Equal(t, cmp.Or(f.MaxDrill, time.Hour), p.MaxDrill)
			if c.why == "" {
				assert.Empty(t, p.Refusals)
				return
			}
			require.Len(t, p.Refusals, 1)
			assert.Contains(t, p.Refusals[0], c.why)
		})
	}
}

func TestLeft(t *testing.T) {
	const root = "tank/snapwatch-drill"
	good := zfs.Drilled{Name: root + "/g100/d-0", CreateTXG: 50, Origin: disk0 + "@s", Mark: mark(100, now)}
	with := func(change func(*zfs.Drilled)) zfs.Drilled {
		d := good
		change(&d)
		return d
	}
	ended := func(vmid int) bool { return vmid != 101 }
	assert.Equal(t, []string{good.Name + "@hourly", good.Name + "@hourly2", good.Name}, Left([]zfs.Drilled{
		{Name: root, Mark: mark(100, now)},
		{Name: root + "/g100", Mark: mark(100, now)},
		good,
		with(func(d *zfs.Drilled) { d.Name, d.Mark = root+"/g101/d-0", mark(101, now) }), // at work
		with(func(d *zfs.Drilled) { d.Origin = "" }),                                     // promoted, or made by a person
		with(func(d *zfs.Drilled) { d.Mark = "" }),
		with(func(d *zfs.Drilled) { d.Mark = mark(102, now) }),
		with(func(d *zfs.Drilled) { d.Mark = "g100" }),
		with(func(d *zfs.Drilled) { d.Mark = "g100 yesterday" }),
		with(func(d *zfs.Drilled) { d.Name = root + "/g100/d-0/x" }),
		with(func(d *zfs.Drilled) { d.Name = root + "/g100/vm-100-disk-0" }),
		with(func(d *zfs.Drilled) { d.Name = "tank/data/snapwatch-drill/g100/d-0" }),
		with(func(d *zfs.Drilled) { d.Name = "tank/start-100/d-0" }),
		with(func(d *zfs.Drilled) { d.Name, d.Mark = root+"/g0100/d-0", "g0100 2026-07-15T12:07:00Z" }),
		{Name: good.Name + "@hourly", CreateTXG: 51}, // another program made it of the clone
		{Name: good.Name + "@hourly2", CreateTXG: 52},
		{Name: good.Name + "@s", CreateTXG: 49}, // of the guest's disk: a person promoted the clone
		{Name: root + "@hourly", CreateTXG: 51},
		{Name: root + "/g100@hourly", CreateTXG: 51},
		{Name: root + "/g100/d-0/x@hourly", CreateTXG: 51},
		{Name: root + "/g101/d-0@hourly", CreateTXG: 51},
	}, ended))
}

// failed returns a drill that found a fault of a kind.
func failed(kind checker.FaultKind, change ...func(*checker.Drill)) checker.Drill {
	d := checker.Drill{At: now, Reach: Cloned, Faults: []checker.Fault{{Kind: kind, Wrong: "a fault"}}}
	for _, c := range change {
		c(&d)
	}
	return d
}

func TestRecords(t *testing.T) {
	a, b, c := Guest{VMID: 100}, Guest{VMID: 101}, Guest{VMID: 100, Cluster: "other"}
	good := checker.Drill{Point: "2026-07-15_12:00:00", At: now.Add(-48 * time.Hour), Reach: Checked, Seconds: 12.34, FileSystems: 1}
	bad := failed(checker.FaultFiles, func(d *checker.Drill) { d.At, d.FileSystems = now.Add(-time.Hour), 1 })
	locked := checker.Drill{At: now, Reach: Nothing, Remarks: []string{"encrypted, not looked at"}}
	var r Records
	r = r.With(b, locked).With(c, good).With(a, good)
	before := r
	r = r.With(a, bad)
	first, _ := before.Of(a)
	assert.Equal(t, Record{VMID: 100, Last: good, Good: &good}, first, "With must not change the older records")

	text, err := checker.FormatProofs(r)
	require.NoError(t, err)
	read, err := checker.ParseProofs(text)
	require.NoError(t, err)
	assert.Equal(t, r, Records(read))
	for _, text := range []string{"", "{}", `{"version":1}`} {
		_, err := checker.ParseProofs([]byte(text))
		assert.Error(t, err, text)
	}

	record, found := r.Of(a)
	require.True(t, found)
	open := []checker.OpenFault{{Kind: checker.FaultFiles, At: bad.At, Wrong: []string{"a fault"}, FileSystems: 1}}
	assert.Equal(t, Record{VMID: 100, Last: bad, Good: &good, Open: open}, record)
	_, found = r.Of(Guest{VMID: 7})
	assert.False(t, found)
	assert.Equal(t, []Guest{{VMID: 7}, c, a, b}, Order([]Guest{b, a, c, {VMID: 7}}, r, now), "c was drilled 48h ago, a an hour ago, b now")

	// A drill that could not look does not end a failure, and a good one does.
	record, _ = r.With(a, locked).Of(a)
	assert.Equal(t, Record{VMID: 100, Last: locked, Good: &good, Open: open}, record)
	record, _ = r.With(a, locked).With(a, good).Of(a)
	assert.Empty(t, record.Open)
	assert.Equal(t, []Guest{b, c, a}, Order([]Guest{a, b, c}, r, now.Add(-30*time.Minute)), "b was drilled in the future")
	assert.Equal(t, "checked in 12.3s", good.Words())
	assert.Equal(t, "encrypted, not looked at", locked.Words())
	assert.Equal(t, "failed: a fault", bad.Words())
}

// A fault is open until a drill looks at the same again, and finds no fault of this kind. Of each
// kind at most one fault is open.
func TestOpenFaults(t *testing.T) {
	whole, first, second := &checker.Part{To: 1}, &checker.Part{To: 0.25}, &checker.Part{From: 0.25, To: 0.5}
	read := func(p *checker.Part) func(*checker.Drill) { return func(d *checker.Drill) { d.Part = p } }
	found := func(n int) func(*checker.Drill) { return func(d *checker.Drill) { d.FileSystems = n } }
	good := func(reach checker.Reach, n int, p *checker.Part) checker.Drill {
		return checker.Drill{At: now, Reach: reach, FileSystems: n, Part: p}
	}
	folder := guest(Disk{Dataset: "tank/subvol-100-disk-0", Filesystem: true})
	for name, c := range map[string]struct {
		guest  Guest
		drills []checker.Drill
		open   string
	}{
		"a block, and nothing is read":              {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), good(Booted, 9, nil)}, "read 0-0.25"},
		"a block, and the same part":                {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), good(Cloned, 0, first)}, ""},
		"a block, and the whole":                    {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), good(Cloned, 0, whole)}, ""},
		"a block, and another part":                 {guest(), []checker.Drill{failed(checker.FaultRead, read(whole)), good(Checked, 1, first)}, "read 0-1"},
		"a block, and the next part":                {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), good(Checked, 1, second)}, "read 0-0.25"},
		"two blocks, and the second part":           {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), failed(checker.FaultRead, read(second)), good(Checked, 1, second)}, "read 0-0.5"},
		"two blocks, and the whole":                 {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), failed(checker.FaultRead, read(second)), good(Checked, 1, whole)}, ""},
		"a block, read while another fails":         {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), failed(checker.FaultFiles, read(first), found(1))}, "file systems 1"},
		"a file of a container, and the same part":  {folder, []checker.Drill{failed(checker.FaultRead, read(first)), good(Checked, 1, first)}, "read 0-1"},
		"a file of a container, and all files":      {folder, []checker.Drill{failed(checker.FaultRead, read(first)), good(Checked, 1, whole)}, ""},
		"a file system, found with --read":          {guest(), []checker.Drill{failed(checker.FaultFiles, read(first), found(1)), good(Checked, 1, nil)}, ""},
		"a file system, and it is gone":             {guest(), []checker.Drill{failed(checker.FaultFiles, found(1)), good(Cloned, 0, whole)}, "file systems 1"},
		"a file system, and one of two is gone":     {guest(), []checker.Drill{failed(checker.FaultFiles, found(2)), good(Checked, 1, nil), good(Booted, 1, nil)}, "file systems 2"},
		"a file system, and then a snapshot":        {guest(), []checker.Drill{failed(checker.FaultFiles, found(2)), failed(checker.FaultFiles), good(Checked, 1, nil)}, "file systems 2"},
		"a file system, looked at, and a block":     {guest(), []checker.Drill{failed(checker.FaultFiles, found(1)), failed(checker.FaultRead, read(first), found(1))}, "read 0-0.25"},
		"a snapshot, and no file system":            {guest(), []checker.Drill{failed(checker.FaultFiles), good(Cloned, 0, nil)}, ""},
		"no start, and it is not started":           {guest(), []checker.Drill{failed(checker.FaultStart), good(Checked, 1, whole)}, "start"},
		"no start, without a file system":           {guest(), []checker.Drill{failed(checker.FaultStart), good(Read, 0, first)}, "start"},
		"no start, and it is started":               {guest(), []checker.Drill{failed(checker.FaultStart), good(Booted, 1, nil)}, ""},
		"a block, then no start, then a start":      {guest(), []checker.Drill{failed(checker.FaultRead, read(first)), failed(checker.FaultStart), good(Booted, 1, nil)}, "read 0-0.25"},
		"no start, then a file system, then a look": {guest(), []checker.Drill{failed(checker.FaultStart), failed(checker.FaultFiles, found(1)), good(Checked, 1, nil)}, "start"},
		"a key that is not loaded":                  {guest(), []checker.Drill{failed(checker.FaultFiles), {At: now, Reach: Nothing}}, "file systems 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var r Records
			for _, d := range c.drills {
				r = r.With(c.guest, d)
			}
			var open []string
			for _, f := range r[0].Open {
				word := string(f.Kind)
				switch {
				case f.Part != nil:
					word += fmt.Sprintf(" %g-%g", f.Part.From, f.Part.To)
				case f.Kind == checker.FaultFiles:
					word += fmt.Sprintf(" %d", f.FileSystems)
				}
				open = append(open, word)
			}
			assert.Equal(t, c.open, strings.Join(open, ", "))
		})
	}
}

// A drill ends a fault of the datasets that it looked at, and of those that are gone.
func TestOpenFaultsOfDatasets(t *testing.T) {
	whole := &checker.Part{To: 1}
	at := func(others []string, datasets ...string) Guest {
		g := guest()
		g.Disks = nil
		for _, d := range datasets {
			g.Disks = append(g.Disks, Disk{Dataset: d})
		}
		g.Others = others
		return g
	}
	const a, b, c = "tank/a/vm-100-disk-0", "fast/b/vm-100-disk-0", "tank/a/vm-100-disk-1"
	bad, good := failed(checker.FaultRead, func(d *checker.Drill) { d.Part = whole }), checker.Drill{At: now, Reach: Checked, Part: whole, FileSystems: 1}
	type drilled struct {
		guest Guest
		drill checker.Drill
	}
	for name, test := range map[string]struct {
		drills []drilled
		open   []string
	}{
		"the same copy":                         {[]drilled{{at(nil, a), bad}, {at([]string{b}, a), good}}, nil},
		"another copy":                          {[]drilled{{at(nil, a), bad}, {at([]string{a}, b), good}}, []string{a}},
		"another copy, and the first is gone":   {[]drilled{{at(nil, a), bad}, {at(nil, b), good}}, nil},
		"another copy, and then the first":      {[]drilled{{at(nil, a), bad}, {at([]string{a}, b), good}, {at([]string{b}, a), good}}, nil},
		"both copies, and then the first":       {[]drilled{{at([]string{b}, a), bad}, {at([]string{a}, b), bad}, {at([]string{b}, a), good}}, []string{b}},
		"both copies, and then both":            {[]drilled{{at([]string{b}, a), bad}, {at([]string{a}, b), bad}, {at([]string{b}, a), good}, {at([]string{a}, b), good}}, nil},
		"a disk that is not drilled any more":   {[]drilled{{at(nil, a, c), bad}, {at([]string{c}, a), good}}, []string{c}},
		"a disk that is gone":                   {[]drilled{{at(nil, a, c), bad}, {at(nil, a), good}}, nil},
		"a disk that was looked at with others": {[]drilled{{at([]string{b}, a, c), bad}, {at([]string{a}, b, c), good}}, []string{a}},
	} {
		var r Records
		for _, d := range test.drills {
			r = r.With(d.guest, d.drill)
		}
		var open []string
		for _, f := range r[0].Open {
			open = append(open, f.Datasets...)
		}
		assert.Equal(t, test.open, open, name)
	}
}

// A drill that does not recognise file systems of the good drill opens a fault that ends when as many
// are found as the good drill found.
func TestOpenFaultOfLostFileSystems(t *testing.T) {
	drilled := func(n, unknown int, faults ...checker.Fault) checker.Drill {
		return checker.Drill{At: now, Reach: Checked, FileSystems: n, Unknown: unknown, Faults: faults}
	}
	wrong := checker.Fault{Kind: checker.FaultFiles, Wrong: "not recognised"}
	r := Records{}.With(guest(), drilled(3, 0)).With(guest(), drilled(0, 1, wrong))
	assert.Equal(t, 3, r[0].Open[0].FileSystems)
	assert.Len(t, r.With(guest(), drilled(2, 0))[0].Open, 1)
	assert.Empty(t, r.With(guest(), drilled(3, 0))[0].Open)
	assert.Equal(t, 2, Records{}.With(guest(), drilled(3, 0)).With(guest(), drilled(2, 0, wrong))[0].Open[0].FileSystems, "one was removed, and another one is broken")
	unread := checker.Drill{At: now, Reach: Nothing, Faults: []checker.Fault{wrong}}
	assert.Zero(t, Records{}.With(guest(), drilled(3, 0)).With(guest(), unread)[0].Open[0].FileSystems, "a snapshot could not be cloned")
}

// A cluster that becomes known, or unknown, ends no fault. A drill under the new name does.
func TestRecordsOfAClusterThatBecomesKnown(t *testing.T) {
	before, after, other := guest(), guest(), guest()
	after.Cluster, other.Cluster = "home", "other"
	whole := &checker.Part{To: 1}
	r := Records{}.With(before, failed(checker.FaultRead, func(d *checker.Drill) { d.Part = whole }))
	r = r.With(after, checker.Drill{At: now, Reach: Checked})
	record, found := r.Of(after)
	assert.True(t, found)
	assert.Len(t, record.Open, 1, "no block was read")
	r = r.With(after, checker.Drill{At: now, Reach: Checked, Part: whole})
	record, _ = r.Of(after)
	assert.Empty(t, record.Open)
	record, _ = r.Of(other)
	assert.Len(t, record.Open, 1, "the fault may be the other's")

	r = Records{}.With(after, failed(checker.FaultFiles)).With(other, failed(checker.FaultStart)).With(before, checker.Drill{At: now, Reach: Checked})
	record, _ = r.Of(before)
	assert.Equal(t, []checker.FaultKind{checker.FaultStart}, []checker.FaultKind{record.Open[0].Kind})
	assert.Len(t, r, 3)
}

// A fault that was found under another configuration, after the last drill of this one, is open.
func TestRecordsOfAClusterThatBecomesUnknownAgain(t *testing.T) {
	unknown, home := guest(), guest()
	home.Cluster = "home"
	fault := failed(checker.FaultFiles, func(d *checker.Drill) { d.FileSystems = 1 })
	good := func(ago time.Duration) checker.Drill {
		return checker.Drill{At: fault.At.Add(-ago), Reach: Checked, FileSystems: 1}
	}
	for name, g := range map[string][2]Guest{"sources: was removed": {unknown, home}, "another file names no sources:": {home, unknown}} {
		r := Records{}.With(g[0], good(48*time.Hour)).With(g[1], fault)
		record, _ := r.Of(g[0])
		assert.Len(t, record.Open, 1, name)
		assert.NotNil(t, record.Good, name)
		young := g[0]
		young.Arrived = fault.At.Add(-time.Hour)
		record, _ = r.Of(young)
		assert.Len(t, record.Open, 1, name)
		record, _ = r.With(g[0], checker.Drill{At: now, Reach: Nothing}).Of(g[0])
		assert.Len(t, record.Open, 1, name)
		record, _ = r.With(g[0], good(-time.Minute)).Of(g[0])
		assert.Empty(t, record.Open, name)
		record, _ = r.With(g[0], good(-time.Minute)).Of(g[1])
		assert.Len(t, record.Open, 1, name)
	}
}

// Two guests have one VMID, and the configuration names the cluster of only one. A fault of one is no
// fault of the other.
func TestRecordsOfTwoGuestsOfOneVMID(t *testing.T) {
	unknown, east := guest(Disk{Dataset: "tank/vm-100-disk-0"}), guest(Disk{Dataset: "tank/east/vm-100-disk-0"})
	east.Cluster = "east"
	r := Records{}.With(unknown, checker.Drill{At: now.Add(-time.Hour), Reach: Checked}).With(east, failed(checker.FaultFiles))
	record, _ := r.Of(unknown)
	assert.Empty(t, record.Open)
	moved := guest()
	moved.Others = []string{"tank/east/vm-100-disk-0"}
	record, _ = r.Of(moved)
	assert.Len(t, record.Open, 1)
}

// Two clusters that become known both have the VMID. The good drill may be of either guest, so it
// becomes the proof of none.
func TestRecordsOfTwoClustersThatBecomeKnown(t *testing.T) {
	before, east := guest(), guest()
	east.Cluster = "east"
	r := Records{}.With(before, checker.Drill{At: now.Add(-time.Hour), Reach: Booted, FileSystems: 3, Part: &checker.Part{To: 0.5}})
	assert.Zero(t, r.NextPart(east, 0.25).From)
	for reach, d := range map[checker.Reach]checker.Drill{Nothing: {At: now, Reach: Nothing}, Cloned: failed(checker.FaultStart)} {
		record, found := r.With(east, d).Of(east)
		assert.True(t, found)
		assert.Nil(t, record.Good, reach)
		assert.Zero(t, record.ReadTo, reach)
	}
}

// A VMID is given to a new guest. The drills of the guest before it say nothing about it.
func TestRecordsOfANewGuest(t *testing.T) {
	old, young := guest(), guest()
	young.Arrived = now.Add(-time.Hour)
	at := func(ago time.Duration, d checker.Drill) checker.Drill {
		d.At = now.Add(-ago)
		return d
	}
	r := Records{}.With(old, at(3*time.Hour, checker.Drill{Reach: Checked, Part: &checker.Part{To: 0.5}})).
		With(old, at(2*time.Hour, failed(checker.FaultFiles, func(d *checker.Drill) { d.FileSystems = 5 })))
	_, found := r.Of(young)
	assert.False(t, found)
	assert.Equal(t, []Guest{young, {VMID: 101}}, Order([]Guest{{VMID: 101}, young}, r.With(Guest{VMID: 101}, at(4*time.Hour, checker.Drill{})), now))
	assert.Zero(t, r.NextPart(young, 0.5).From)
	r = r.With(young, at(0, failed(checker.FaultFiles, func(d *checker.Drill) { d.FileSystems = 1 })))
	assert.Equal(t, 1, r[0].Open[0].FileSystems)
	assert.Nil(t, r[0].Good)
	assert.Empty(t, r.With(young, at(0, checker.Drill{Reach: Checked, FileSystems: 1}))[0].Open)
}

const started = startedMark + "\n"

func TestListing(t *testing.T) {
	assert.Equal(t, "set-backend direct\nadd-drive \"/dev/zvol/a\" format:raw\nadd-drive \"/dev/zvol/b\" format:raw\nrun\n"+
		"echo snapwatch: started\necho snapwatch: file systems\nlist-filesystems\necho snapwatch: roots\ninspect-os\necho snapwatch: end\n", ListScript([]string{"/dev/zvol/a", "/dev/zvol/b"}))
	const head = started + fileSystemsMark + "\n"
	l, _, err := ParseList(head+"/dev/sda1: ext4\n/dev/vg0/root: xfs\n/dev/sda2: swap\nbtrfsvol:/dev/sda3/home: btrfs\n"+rootsMark+"\n/dev/vg0/root\nbtrfsvol:/dev/sda3/root\n"+endMark+"\n", "")
	require.NoError(t, err)
	assert.Equal(t, Listing{FileSystems: []FileSystem{{"/dev/sda1", "ext4"}, {"/dev/vg0/root", "xfs"}, {"/dev/sda2", "swap"}}, Roots: []string{"/dev/vg0/root"}}, l)
	l, _, err = ParseList(head+rootsMark+"\n"+endMark+"\n", "")
	require.NoError(t, err)
	assert.Empty(t, l)
	for name, text := range map[string]string{
		"nothing":             "",
		"not started":         fileSystemsMark + "\n" + rootsMark + "\n" + endMark + "\n",
		"cut":                 head + "/dev/sda1: ext4\n" + rootsMark + "\n",
		"cut in a line":       head + rootsMark + "\n" + endMark,
		"no roots":            head + "/dev/sda1: ext4\n" + endMark + "\n",
		"a command in a name": head + "/dev/vg/x;reboot: ext4\n" + rootsMark + "\n" + endMark + "\n",
		"a blank in a name":   head + "/dev/vg/x y: ext4\n" + rootsMark + "\n" + endMark + "\n",
		"a path of the host":  head + "/etc/passwd: ext4\n" + rootsMark + "\n" + endMark + "\n",
		"a strange root":      head + rootsMark + "\n!reboot\n" + endMark + "\n",
		"two lists of roots":  head + rootsMark + "\n" + rootsMark + "\n" + endMark + "\n",
		"too many":            head + strings.Repeat("/dev/sda1: ext4\n", maxFileSystems+1) + rootsMark + "\n" + endMark + "\n",
	} {
		_, _, err := ParseList(text, "")
		assert.Error(t, err, name)
	}
}

// A list that fails because a program found a fault in the copy is a fault. For all other reasons it is
// unknown whether there is one.
func TestListingFails(t *testing.T) {
	const said = "*stdin*:5: libguestfs: error: list_filesystems: mount exited with status 32: mount: /tmp/btrfsXXXX: "
	const head = started + fileSystemsMark + "\n"
	_, wrong, err := ParseList(head, said+"wrong fs type, bad option, bad superblock on /dev/sda1")
	require.NoError(t, err)
	assert.Equal(t, "listing the file systems: wrong fs type, bad option, bad superblock on /dev/sda1", wrong)
	for name, c := range map[string]struct{ text, complaint string }{
		"not started":              {"", said + "bad superblock"},
		"the appliance was killed": {head, "libguestfs: error: list_filesystems: appliance closed the connection unexpectedly."},
		"mount was killed":         {head, "libguestfs: error: list_filesystems: external command ‘mount’ killed by signal 9"},
		"no memory":                {head, said + "mount(2) system call failed: Cannot allocate memory."},
		"no btrfs in the kernel":   {head, said + "unknown filesystem type 'btrfs'."},
		"after the list":           {head + "/dev/sda1: ext4\n" + rootsMark + "\n", said + "bad superblock"},
		"a fault of guestfish":     {head, "libguestfs: error: list_filesystems: xdr_guestfs_message_header failed"},
	} {
		_, wrong, err := ParseList(c.text, c.complaint)
		assert.Error(t, err, name)
		assert.Empty(t, wrong, "in doubt no fault was found: %s", name)
	}
}

// A file system that was looked at before and is not recognised any more is a fault. One that was
// removed is not.
func TestLost(t *testing.T) {
	drilled := func(fileSystems, unknown int) checker.Drill {
		return checker.Drill{Point: "2026-07-15_12:00:00", FileSystems: fileSystems, Unknown: unknown}
	}
	for _, c := range []struct {
		before, d checker.Drill
		lost      bool
	}{
		{drilled(1, 0), drilled(0, 1), true},
		{drilled(1, 1), drilled(0, 1), true}, // the table of partitions is broken: now the disk is unknown
		{drilled(1, 1), drilled(0, 0), true},
		{drilled(3, 1), drilled(2, 2), true},
		{drilled(3, 1), drilled(2, 1), false},
		{drilled(2, 1), drilled(2, 2), false},
		{drilled(2, 1), drilled(3, 2), false},
		{drilled(0, 1), drilled(0, 2), false},
	} {
		assert.Equal(t, c.lost, Lost(&c.before, c.d) != "", "%+v", c)
	}
	assert.Empty(t, Lost(nil, drilled(0, 1)))
	assert.Equal(t, "not recognised: 1 of 3 file systems that the drill of 2026-07-15 12:00:00 found", Lost(new(drilled(3, 1)), drilled(2, 2)))
	l := Listing{FileSystems: []FileSystem{{"/dev/sda1", "unknown"}, {"/dev/sda2", "ext4"}, {"/dev/sda3", "swap"}}}
	assert.Equal(t, 1, l.Unknown())
}

// A checker that could not check found no fault. The look at the other file systems still counts.
func TestCheckersThatCannotCheck(t *testing.T) {
	steps, _ := Listing{FileSystems: []FileSystem{{"/dev/sda1", "ext4"}, {"/dev/sda2", "xfs"}}}.Steps()
	for _, c := range []struct {
		ext, xfs int
		wrong    string
	}{
		{0, 0, ""},
		{7, 0, "checking /dev/sda1 (ext4): the checker found faults (exit status 7)"},
		{8, 0, "unknown"}, // a feature that e2fsck does not know
		{-1, 0, "unknown"},
		{0, 1, "checking /dev/sda2 (xfs): the checker found faults (exit status 1)"},
		{0, 2, "unknown"}, // a journal that was not replayed
		{8, 1, "checking /dev/sda2 (xfs): the checker found faults (exit status 1)"},
		{8, 2, "unknown"},
	} {
		done := func(n int) string { return fmt.Sprintf("%s%d\n", stepMark, n) }
		wrong, _, err := ParseCheck(fmt.Sprintf("%s%s%d\n%strue\n%s%s%d\n%strue\n%s%s\n", started, done(0), c.ext, done(1), done(2), done(3), c.xfs, done(4), done(5), endMark), "", steps)
		assert.Equal(t, c.wrong == "unknown", err != nil, "%v: %v", c, err)
		if err == nil {
			assert.Equal(t, c.wrong, strings.Join(wrong, ""), c)
		}
	}
}

// Linux cannot mount a UFS without its variant, which libguestfs does not name.
func TestUFS(t *testing.T) {
	steps, remarks := Listing{FileSystems: []FileSystem{{"/dev/sda2", "ufs"}}}.Steps()
	assert.Empty(t, steps)
	assert.Equal(t, []string{"/dev/sda2 is ufs, which is not looked at"}, remarks)
}

func TestCheck(t *testing.T) {
	l := Listing{FileSystems: []FileSystem{{"/dev/sda1", "vfat"}, {"/dev/sda2", "ext4"}, {"/dev/sda3", "swap"}}, Roots: []string{"/dev/sda2"}}
	steps, remarks := l.Steps()
	assert.Equal(t, []string{"/dev/sda3 is swap, which is not looked at"}, remarks)
	var what []string
	for _, s := range steps {
		what = append(what, s.What)
	}
	assert.Equal(t, []string{
		"reading the root directory of /dev/sda1 (vfat)",
		"mounting /dev/sda2 (ext4), which replays its journal", "checking /dev/sda2 (ext4)", "reading the root directory of /dev/sda2 (ext4)",
		"recognising the system on /dev/sda2",
	}, what)
	assert.Equal(t, `set-backend direct
add-drive "/dev/zvol/a" format:raw
run
echo snapwatch: started
mount-ro /dev/sda1 /
exists /
umount /
echo snapwatch: done 0
mount /dev/sda2 /
umount /
echo snapwatch: done 1
tune2fs /dev/sda2 maxmountcount:1 mountcount:2
fsck ext4 /dev/sda2
echo snapwatch: done 2
mount-ro /dev/sda2 /
exists /
umount /
echo snapwatch: done 3
inspect-os
echo snapwatch: done os
inspect-get-product-name /dev/sda2
echo snapwatch: done 4
echo snapwatch: end
`, CheckScript([]string{"/dev/zvol/a"}, steps))

	done := func(n int) string { return fmt.Sprintf("%s%d\n", stepMark, n) }
	upTo2 := started + "true\n" + done(0) + done(1)
	all := upTo2 + "0\n" + done(2) + "true\n" + done(3) + "/dev/sda2\n" + stepMark + "os\nDebian GNU/Linux 12\n" + done(4) + endMark + "\n"
	wrong, remarks, err := ParseCheck(all, "", steps)
	require.NoError(t, err)
	assert.Empty(t, wrong)
	assert.Equal(t, []string{"Debian GNU/Linux 12"}, remarks)

	wrong, _, err = ParseCheck(upTo2+"4\n"+done(2)+"true\n"+done(3), "", steps)
	require.NoError(t, err)
	assert.Equal(t, []string{"checking /dev/sda2 (ext4): the checker found faults (exit status 4)"}, wrong)
	wrong, _, err = ParseCheck(upTo2+"0x1\n"+done(2)+"true\n"+done(3), "", steps)
	require.NoError(t, err)
	assert.Equal(t, []string{"checking /dev/sda2 (ext4): the checker found faults (exit status 1)"}, wrong, "guestfish prints some numbers in hexadecimal")
	wrong, _, err = ParseCheck(started+"true\n"+done(0), "libguestfs: error: mount: bad superblock", steps)
	require.NoError(t, err)
	assert.Equal(t, []string{"mounting /dev/sda2 (ext4), which replays its journal: mount: bad superblock"}, wrong)
	said := "*stdin*:5: libguestfs: error: mount: mount exited with status 32: mount: /sysroot: mount(2) system call failed: Structure needs cleaning., exit status 1 (guestfish)"
	wrong, _, err = ParseCheck(started+"true\n"+done(0), said, steps)
	require.NoError(t, err)
	assert.Equal(t, []string{"mounting /dev/sda2 (ext4), which replays its journal: mount(2) system call failed: Structure needs cleaning., exit status 1 (guestfish)"}, wrong, "the cause comes first")
	wrong, _, err = ParseCheck(started, "libguestfs: error: mount: bad superblock", steps)
	require.NoError(t, err)
	assert.Len(t, wrong, 1, "the first file system cannot be mounted")
	for name, c := range map[string]struct{ text, complaint string }{
		"not started":                  {"", "no /dev/kvm"},
		"it ended without a complaint": {upTo2, ""},
		"a program is not there":       {upTo2, "libguestfs: error: fsck: fsck.ext4: failed to execute fsck.ext4: No such file or directory"},
		"a feature is not known":       {upTo2, "libguestfs: error: tune2fs: /dev/sda2: tune2fs: Filesystem has unsupported feature(s)"},
		"a part is not there":          {upTo2, "libguestfs: error: feature 'xfs' is not available in this build of libguestfs."},
		"the kernel lacks it":          {upTo2, "mount exited with status 32: mount: unknown filesystem type 'xfs'."},
		"the appliance was killed":     {upTo2, "libguestfs: error: e2fsck: appliance closed the connection unexpectedly."},
		"cut in a line":                {upTo2 + "0", ""},
		"not a number":                 {upTo2 + "e2fsck: not found\n" + done(2), ""},
		"no number":                    {upTo2 + done(2), ""},
		"more than was asked for":      {strings.TrimSuffix(all, endMark+"\n") + "hello\n" + endMark + "\n", ""},
		"no end":                       {strings.TrimSuffix(all, endMark+"\n"), ""},
	} {
		wrong, _, err := ParseCheck(c.text, c.complaint, steps)
		assert.Error(t, err, name)
		assert.Empty(t, wrong, "in doubt no fault was found: %s", name)
	}
}
