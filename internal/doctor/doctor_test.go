package doctor

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// healthy returns the facts about a node on which doctor finds no problem.
func healthy() Facts {
	return Facts{
		Now: now, Root: true, Warning: 2 * time.Hour,
		Node:  Node{PVE: true, Name: "pve1", Hostname: "pve1", Configured: 2, Listed: 2, PveshTook: time.Second, Storages: []string{"tank/data"}},
		ZFS:   ZFS{Userland: "2.3.2", Kernel: "2.3.2"},
		Found: []Pool{{Name: "tank", Bookmarks: "active"}}, DamageAt: now.Add(-time.Hour),
		Disks:   []Disk{{Dataset: "tank/data/vm-100-disk-0", Labelled: true, Gap: 15 * time.Minute, Newest: now.Add(-time.Minute)}},
		Starts:  Starts{Cron: []string{"cron.d/snapwatch: */15 * * * * root /usr/bin/snapwatch snap f4"}, Program: "/usr/bin/snapwatch", CronDaemon: "active", Finalize: "active"},
		LastRun: LastRun{End: now.Add(-time.Minute), Limit: 45 * time.Minute, Success: true},
		Clock:   Clock{Synchronized: "yes"},
	}
}

// replica returns the facts about a host that only receives copies, on which doctor finds no
// problem.
func replica() Facts {
	f := healthy()
	f.Role, f.Node, f.Starts, f.LastRun = "replica", Node{}, Starts{}, LastRun{Err: errors.New("none")}
	f.Disks = []Disk{{Dataset: "tank/vm-100-disk-0", Received: true, ReceivedLabel: true, Labelled: true, Gap: time.Hour}}
	return f
}

func TestHealthy(t *testing.T) {
	for name, f := range map[string]Facts{"node": healthy(), "replica": replica()} {
		findings := Judge(f)
		assert.Equal(t, OK, Worst(findings), name)
		for _, finding := range findings {
			assert.Empty(t, finding.Do, name)
		}
	}
}

// TestFindings checks that each single problem changes doctor's exit status, and that doctor prints
// advice for the problem.
func TestFindings(t *testing.T) {
	oops := errors.New("oops")
	for _, test := range []struct {
		name    string
		from    func() Facts
		change  func(*Facts)
		status  Status
		topic   string
		text    string
		command string
	}{
		{"a pool lacks a device", healthy, func(f *Facts) { f.Found[0].Unwell = "ZFS calls it DEGRADED" }, Warn, "pool", "tank: ZFS calls it DEGRADED", "zpool status tank"},
		{"a pool has errors", healthy, func(f *Facts) { f.Found[0].Unwell, f.Found[0].Critical = "2 permanent errors", true }, Fail, "pool", "2 permanent errors", "zpool status -v tank"},
		{"a pool is full", healthy, func(f *Facts) { f.Found[0].Unwell, f.Found[0].Full = "85% of it is taken", true }, Warn, "pool", "85% of it", "zfs list -o space -S used tank"},
		{"a pool is very full", healthy, func(f *Facts) {
			f.Found[0].Unwell, f.Found[0].Full, f.Found[0].Critical = "91% of it is taken", true, true
		}, Fail, "pool", "91% of it", "zfs list -o space -S used tank"},
		{"no room for thick volumes", healthy, func(f *Facts) { f.Found[0].Short = "3 thick volumes" }, Warn, "pool", "tank: 3 thick volumes", "zfs list -o space -S used tank"},
		{"nobody looks for errors", healthy, func(f *Facts) { f.DamageAt = time.Time{} }, Warn, "errors", "root never looked where", "snapwatch-health.timer"},
		{"nobody has looked of late", healthy, func(f *Facts) { f.DamageAt = now.Add(-4 * time.Hour) }, Warn, "errors", "root last looked 4h", "snapwatch-health.timer"},
		{"bad configuration", healthy, func(f *Facts) { f.ConfigErr = oops }, Fail, "configuration", "oops", "correct"},
		{"pmxcfs is down", healthy, func(f *Facts) { f.Node.Err = oops }, Fail, "node", "oops", "pve-cluster"},
		{"a zone that is none", healthy, func(f *Facts) { f.Clock.ZoneErr = oops }, Warn, "clock", "times are UTC: oops", "TZ="},
		{"sanoid's autumn", healthy, func(f *Facts) { f.Disks[0].Autumn = []string{"d@x", "d@y"} }, Warn, "sanoid", "2 snapshots are there for ever, such as d@x", "zfs destroy"},
		{"locks of root alone", replica, func(f *Facts) { f.LocksErr = oops }, Fail, "locks", "UNKNOWN: oops", "1777"},
		{"systemd hangs", healthy, func(f *Facts) { f.Starts.SystemdErr = oops }, Fail, "systemd", "oops", "is-system-running"},
		{"a file that is not what it seems", healthy, func(f *Facts) { f.Node.Warnings = []string{"storage.cfg line 3: oops"} }, Warn, "/etc/pve", "line 3: oops", "correct"},
		{"another node's configuration", healthy, func(f *Facts) { f.WantNode = "pve2" }, Fail, "node", "the configuration pve2", "node:"},
		{"another hostname", healthy, func(f *Facts) { f.Node.Hostname = "box.lan" }, Warn, "node", "the kernel box.lan", "--dry-run"},
		{"pvesh fails", healthy, func(f *Facts) { f.Node.PveshErr = oops }, Fail, "pvesh", "oops", "pvesh get"},
		{"pvesh refuses a user", healthy, func(f *Facts) { f.Node.PveshErr, f.Root = oops, false }, Warn, "pvesh", "not asked", "as root"},
		{"pvesh lists nobody", healthy, func(f *Facts) { f.Node.Listed = 0 }, Fail, "pvesh", "2 are configured", "pvestatd"},
		{"pvesh is slow", healthy, func(f *Facts) { f.Node.PveshTook = 11 * time.Second }, Warn, "pvesh", "needed 11s", "load"},
		{"no storage", healthy, func(f *Facts) { f.Node.Storages = nil }, Fail, "storages", "no ZFS storage", "datasets:"},
		{"storage on a pool that is away", healthy, func(f *Facts) { f.Node.Absent = []string{"usb/data"} }, Warn, "storages", "usb/data", "import"},
		{"no ZFS", healthy, func(f *Facts) { f.ZFS.Err = oops }, Fail, "ZFS", "oops", "modprobe"},
		{"no right on the device", healthy, func(f *Facts) { f.ZFS.DeviceErr = oops }, Fail, "ZFS", "oops", "/dev/zfs"},
		{"old ZFS", healthy, func(f *Facts) { f.ZFS = ZFS{Userland: "0.8.6", Kernel: "0.8.6"} }, Warn, "ZFS", "0.8.6", "2.1"},
		{"mixed ZFS", healthy, func(f *Facts) { f.ZFS.Userland = "2.4.0" }, Warn, "ZFS", "zfs is 2.4.0", "reboot"},
		{"suspended pool", healthy, func(f *Facts) { f.Found[0].Err = oops }, Fail, "pool", "tank: oops", "zpool status tank"},
		{"newest not told", healthy, func(f *Facts) { f.Found[0].Lists = true }, Warn, "pool", "prevsnap", "slower"},
		{"pool without bookmarks", healthy, func(f *Facts) { f.Found[0].Bookmarks = "disabled" }, Warn, "pool", "bookmarks", "zpool set"},
		{"pool that must be there", healthy, func(f *Facts) { f.Pools = []string{"away"} }, Fail, "pool", "away is not imported", "zpool import away"},
		{"no pool", healthy, func(f *Facts) { f.Found = nil }, Fail, "pool", "no pool", "zpool import"},
		{"nothing runs snap", healthy, func(f *Facts) { f.Starts.Cron = nil }, Warn, "cron or timer", "nothing runs", "snapwatch snap"},
		{"cron never runs the line", healthy, func(f *Facts) {
			f.Starts.Cron, f.Starts.Idle = nil, []string{"cron.d/snapwatch: @daily root snapwatch snap (cron never runs it regularly: others may write it)"}
		}, Fail, "cron or timer", "others may write it", "correct the line"},
		{"several lines run snap", healthy, func(f *Facts) { f.Starts.Cron = append(f.Starts.Cron, "crontab: @daily root snapwatch snap d30") }, Warn, "cron or timer", "several lines of cron run snap: cron.d/snapwatch: */15 * * * * root /usr/bin/snapwatch snap f4; crontab: @daily", "keep one"},
		{"a line is not understood", healthy, func(f *Facts) {
			f.Starts.Cron, f.Starts.Unclear = nil, []string{"crontab: @daily root x snapwatch snap"}
		}, Warn, "cron or timer", "crontab: @daily", "write the line as"},
		{"cron cannot be read", healthy, func(f *Facts) { f.Starts.CronErr = errors.New("input/output error") }, Warn, "cron or timer", "input/output error", "correct"},
		{"cron and timer", healthy, func(f *Facts) { f.Starts.Timer = true }, Warn, "cron or timer", "both", "cron remove"},
		{"cron starts what is gone", healthy, func(f *Facts) { f.Starts.ProgramErr = oops }, Fail, "cron or timer", "/usr/bin/snapwatch: oops", "cron install"},
		{"cron is off", healthy, func(f *Facts) { f.Starts.CronDaemon = "inactive" }, Fail, "cron or timer", "inactive", "systemctl enable"},
		{"no last snapshots at shutdown", healthy, func(f *Facts) { f.Starts.Finalize = "inactive" }, Warn, "host shutdown", "inactive", "systemctl enable"},
		{"registered on a replica", replica, func(f *Facts) { f.Starts.Timer = true }, Fail, "cron or timer", "forbids", "disable"},
		{"never ran", healthy, func(f *Facts) { f.LastRun = LastRun{Err: oops} }, Warn, "last run", "oops", "--dry-run"},
		{"ran long ago", healthy, func(f *Facts) { f.LastRun.End = now.Add(-46 * time.Minute) }, Fail, "last run", "46m0s ago, limit 45m0s", "journalctl"},
		{"ran long ago for cron's line", healthy, func(f *Facts) { f.LastRun.End, f.LastRun.Limit = now.Add(-73*time.Hour), 72*time.Hour }, Fail, "last run", "73h0m0s ago, limit 72h0m0s", "journalctl"},
		{"ran in the future", healthy, func(f *Facts) { f.LastRun.End = now.Add(6 * time.Minute) }, Warn, "last run", "6m0s in the future", "timedatectl"},
		{"ran without success", healthy, func(f *Facts) { f.LastRun = LastRun{End: now, Limit: time.Hour, FirstWords: "tank is locked"} }, Warn, "last run", "tank is locked", "--dry-run"},
		{"clock runs free", healthy, func(f *Facts) { f.Clock.Synchronized = "no" }, Warn, "clock", "not synchronized", "timedatectl"},
		{"a snapshot from the future", replica, func(f *Facts) { f.Disks[0].Newest = now.Add(6 * time.Minute) }, Warn, "clock", "6m0s in the future", "timedatectl"},
		{"the old program", healthy, func(f *Facts) { f.Others.OldCron = "0 * * * * pve-zfs-snap" }, Warn, "pve-zfs-snap", "0 * * * *", "crontab -e"},
		{"sanoid beside snap", healthy, func(f *Facts) { f.Others = Others{Sanoid: true, SanoidRuns: true} }, Warn, "sanoid", "in addition to snap", "sanoid.conf"},
		{"sanoid on a replica", replica, func(f *Facts) { f.Others = Others{Sanoid: true, SanoidRuns: true} }, Warn, "sanoid", "receives", "autosnap = no"},
		{"no disks", healthy, func(f *Facts) { f.Disks = nil }, Warn, "labels", "no guest's disk", "datasets:"},
		{"a label set on a replica", replica, func(f *Facts) { f.Disks[0].ReceivedLabel = false }, Warn, "labels", "set here", "zfs inherit -S label:running tank/vm-100-disk-0"},
		{"snapshots come too seldom", replica, func(f *Facts) { f.Disks[0].Gap = 24 * time.Hour }, Warn, "limits", "(2h0m0s): the longest time was 24h0m0s, for tank/vm-100-disk-0", "limits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.from()
			test.change(&f)
			findings := Judge(f)
			assert.Equal(t, test.status, Worst(findings))
			var bad []Finding
			for _, finding := range findings {
				if finding.Status != OK {
					bad = append(bad, finding)
				}
			}
			require.NotEmpty(t, bad)
			assert.Equal(t, test.topic, bad[0].Topic)
			assert.Contains(t, bad[0].Text, test.text)
			assert.Contains(t, bad[0].Do, test.command)
		})
	}
}

// TestQuietWithout checks that doctor reports no finding about a fact that is unknown or does not
// matter on this host.
func TestQuietWithout(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"no systemd":             func(f *Facts) { f.Starts.CronDaemon, f.Starts.Finalize, f.Clock.Synchronized = "", "", "" },
		"timer in place of cron": func(f *Facts) { f.Starts = Starts{Timer: true, CronDaemon: "inactive", Finalize: "active"} },
		"sanoid for syncoid":     func(f *Facts) { f.Others.Sanoid = true },
		"fully qualified name":   func(f *Facts) { f.Node.Hostname, f.WantNode = "pve1.lan", "pve1.lan" },
		"a new disk":             func(f *Facts) { f.Disks = append(f.Disks, Disk{Dataset: "tank/data/vm-101-disk-0"}) },
		"plain receive":          func(f *Facts) { *f = replica(); f.Disks[0].Labelled, f.Disks[0].ReceivedLabel = false, false },
		"a site without a role":  func(f *Facts) { *f = replica(); f.Role = "" },
	} {
		f := healthy()
		change(&f)
		assert.Equal(t, OK, Worst(Judge(f)), name)
	}
}

func TestLongestGap(t *testing.T) {
	at := func(minutes ...int) []Taken {
		var all []Taken
		for _, m := range minutes {
			all = append(all, Taken{At: now.Add(time.Duration(m) * time.Minute)})
		}
		return all
	}
	assert.Zero(t, LongestGap(nil))
	assert.Zero(t, LongestGap(at(0, 15)))
	assert.Equal(t, 45*time.Minute, LongestGap(at(0, 15, 60, 75)))
	off := at(0, 15, 600, 615)
	off[1].Stopped = true
	assert.Equal(t, 15*time.Minute, LongestGap(off), "the guest was off")
	long := at(-9000)
	for i := range GapsSeen {
		long = append(long, at(15*i)...)
	}
	assert.Equal(t, 15*time.Minute, LongestGap(long), "only the newest")
}
