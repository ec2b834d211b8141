package exporter

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// waitPage waits until the exporter has read the pools, and returns the page at path.
func (r *rig) waitPage(t *testing.T, path string) string {
	t.Helper()
	r.Refresh(t.Context())
	w := get(server().Handler(r.Store), path)
	require.Equal(t, 200, w.Code, w.Body.String())
	r.settle(t)
	return w.Body.String()
}

var (
	guestName = regexp.MustCompile(`class="twist" aria-hidden="true">.</span><b>([^<]*)<`)
	diskName  = regexp.MustCompile(`class="path">[^<]*</span><b>([^<]*)<`)
)

// guestsOn returns the guests in a page's table, in order; disksOn returns the disks of the guests
// whose rows are open.
func guestsOn(page string) []string { return found(guestName, page) }

func disksOn(page string) []string { return found(diskName, page) }

func found(pattern *regexp.Regexp, page string) []string {
	var names []string
	for _, match := range pattern.FindAllStringSubmatch(page, -1) {
		names = append(names, match[1])
	}
	return names
}

func TestPageSaysWhatCheckSays(t *testing.T) {
	r := newRig(t, world())
	page := r.waitPage(t, "/")
	for _, g := range r.Report().Guests {
		for _, text := range []string{g.ID, g.Verdict.String(), g.State.String()} {
			assert.Contains(t, page, text)
		}
	}
	for _, d := range r.Report().Disks {
		page := r.waitPage(t, "/?disk="+d.Dataset)
		for _, text := range []string{d.Dataset, d.Verdict.String(), d.State.String(), d.FullReason(), d.Limit.Rule, d.Suffix()} {
			assert.Contains(t, page, text)
		}
	}
	assert.Contains(t, page, r.Report().Summary())
	assert.Equal(t, []string{"qemu/103", "qemu/102", "lxc/101", "qemu/100"}, guestsOn(page), "the worst first")
	assert.Empty(t, disksOn(page), "a guest is one row until it is opened")
	assert.NotContains(t, page, "cannot be read")
	assert.NotContains(t, page, "data-soon")
}

func TestPageFiltersAndSorts(t *testing.T) {
	r := newRig(t, world())
	for query, want := range map[string][]string{
		"verdict=stopped":         {"lxc/101"},
		"state=CRITICAL":          {"qemu/103", "qemu/102"},
		"state=OK&q=VM-1":         {"qemu/100"},
		"q=tank/b":                {"qemu/103", "qemu/102"},
		"q=QEMU/10":               {"qemu/103", "qemu/102", "qemu/100"},
		"q=east":                  {"lxc/101", "qemu/100"},
		"pool=rpool":              nil,
		"verdict=no+such":         nil,
		"sort=guest":              {"qemu/100", "lxc/101", "qemu/102", "qemu/103"},
		"sort=age":                {"qemu/102", "lxc/101", "qemu/103", "qemu/100"},
		"sort=newest":             {"qemu/100", "qemu/103", "lxc/101", "qemu/102"},
		"sort=x&page=-1&guest=no": {"qemu/103", "qemu/102", "lxc/101", "qemu/100"},
		"page=99":                 {"qemu/103", "qemu/102", "lxc/101", "qemu/100"},
	} {
		assert.Equal(t, want, guestsOn(r.waitPage(t, "/?"+query)), query)
	}
	page := r.waitPage(t, "/?verdict=stopped")
	assert.Contains(t, page, "1 of 4 guests, stopped")
	assert.Equal(t, []string{"subvol-101-disk-0"}, disksOn(page), "the only one that is asked for is open")
	assert.Equal(t, []string{"vm-103-disk-0"}, disksOn(r.waitPage(t, "/?guest=103")))
}

// The function `holding` returns an exporter under test that has just read the given disks.
func holding(t *testing.T, disks []checker.Disk) *rig {
	t.Helper()
	r := newRig(t, zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}}}, func(s *Settings) { s.Reuse = time.Hour })
	read := checker.Pool{Name: "tank", ReadAt: start, Disks: disks}
	r.pools["tank"] = &pool{tried: read, good: read, endedAt: start, roots: []string{read.Name}}
	return r
}

// aged returns a disk whose newest snapshot has the given age.
func aged(vmid, number int, age time.Duration) checker.Disk {
	at := start.Add(-age)
	return checker.Disk{
		Dataset: fmt.Sprintf("tank/vm-%d-disk-%d", vmid, number), VMID: vmid, GUID: uint64(vmid*1000 + number), Created: start.AddDate(-1, 0, 0), ReadAt: start,
		Newest: &zfs.Snapshot{Name: zfs.FormatSnapshotName(at, zfs.Hourly), GUID: 1, CreateTXG: 1, Creation: at},
	}
}

func TestPageStaysSmallWithManyDisks(t *testing.T) {
	var disks []checker.Disk
	for i := range 5000 {
		age := time.Minute
		if i%1000 == 7 {
			age = 9 * time.Hour
		}
		disks = append(disks, aged(100+i/2, i%2, age))
	}
	r := holding(t, disks)
	page := r.waitPage(t, "/")
	assert.Less(t, len(page), 20_000)
	assert.Equal(t, []string{"qemu/103", "qemu/603", "qemu/1103", "qemu/1603", "qemu/2103"}, guestsOn(page), "those that alarm")
	assert.Contains(t, page, "2495 guests OK")
	assert.Contains(t, page, `<a class="counter red" href="?state=CRITICAL" title="guests whose state is CRITICAL"><b>5</b>`)
	assert.Equal(t, []string{"qemu/103", "qemu/603", "qemu/1000", "qemu/1103", "qemu/1603", "qemu/2103"}, slices.SortedFunc(slices.Values(guestsOn(r.waitPage(t, "/?guest=1000"))), byNumber), "one that is open is not folded")
	all := r.waitPage(t, "/?ok=show")
	assert.Less(t, len(all), 250_000)
	assert.Len(t, guestsOn(all), 200)
	assert.Contains(t, all, "page 1 of 13")
	assert.Contains(t, all, `href="?guest=100&amp;ok=show#guest-100"`)
	last := r.waitPage(t, "/?ok=show&page=13")
	assert.Len(t, guestsOn(last), 100)
	assert.NotContains(t, last, "later →")
}

func byNumber(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }

func TestAGuestOfManyDisksIsShownWhole(t *testing.T) {
	var disks []checker.Disk
	for i := range 300 {
		disks = append(disks, aged(100, i, 9*time.Hour))
	}
	page := holding(t, disks).waitPage(t, "/?guest=100")
	assert.Len(t, disksOn(page), 300)
	assert.Less(t, len(page), 250_000)
}

// On a host without the ZFS kernel module, the page must not call pools "not imported".
func TestPageWithoutZFS(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Scanner.Kstat = filepath.Join(t.TempDir(), "none") })
	page := r.waitPage(t, "/")
	assert.Equal(t, 3, strings.Count(page, "the ZFS module is not loaded (modprobe zfs)"), "as check says: above, in the table, and of the pools")
	assert.NotContains(t, page, "No pool is imported here")
}

func TestPageDoesNotWaitForZFS(t *testing.T) {
	r := newRig(t, world())
	r.Refresh(t.Context())
	w := world()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Hang: true}}
	r.fake.Set(w)
	handler := server().Handler(r.Store)
	shown := func() string { return get(handler, "/").Body.String() }
	assert.Len(t, guestsOn(shown()), 4)
	r.fake.AwaitHung(1)
	page := shown()
	assert.Len(t, guestsOn(page), 4, "what was read last")
	assert.NotContains(t, page, "cannot be read", "a listing that has just begun is not a fault")
	r.clock.forward(11 * time.Minute)
	page = shown()
	assert.Contains(t, page, "pool tank cannot be read")
	assert.Contains(t, page, "is not finished")
	assert.Contains(t, page, "Last read 11m ago")
	assert.Contains(t, page, "unreadable")
	assert.Contains(t, page, "Of 4 disks 2 alarmed then.")
	assert.Equal(t, []string{"qemu/102", "qemu/103", "lxc/101", "qemu/100"}, guestsOn(page), "the worst and oldest of what was read last first")
	assert.Contains(t, page, "was stale 7h when last read, 11m ago")
}

func TestPageNamesThePoolsThatCannotBeRead(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) {
		s.Config.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "old"}, Until: start.Add(time.Hour), Reason: "new disks"}}
		s.Config.Pools = []string{"old", "rpool", "tank"}
	})
	assert.NotContains(t, r.waitPage(t, "/"), "cannot be read", "a pool out for maintenance does not alarm")
	r.fake.Pool("tank", "SUSPENDED")
	page := r.waitPage(t, "/")
	assert.Contains(t, page, "pool tank cannot be read")
	assert.Contains(t, page, "pool tank is suspended: its I/O failed (zpool status tank, then zpool clear tank)")
	assert.Regexp(t, `last \d+ listings, \d failed`, page)
	assert.Equal(t, 1, strings.Count(page, "cannot be read"))
	r.fake.Pool("tank", "")
	assert.Contains(t, r.waitPage(t, "/"), "pool tank is not imported (zpool import tank)")
	assert.Contains(t, page, "<strong>pool old</strong> until 2026-03-29 13:00:00 UTC: new disks")
	r.fake.Pool("tank", "ONLINE")
	for range maxListings {
		r.Refresh(t.Context())
	}
	page = r.waitPage(t, "/")
	assert.NotContains(t, page, "cannot be read")
	assert.Contains(t, page, "last 12 listings")
}

func TestPageBeforeAnythingIsRead(t *testing.T) {
	r := newRig(t, world())
	page := get(server().Handler(r.Store), "/").Body.String()
	assert.Contains(t, page, "The pools are being read.")
	assert.Contains(t, page, "data-soon")
	assert.NotContains(t, page, "cannot be read")
	assert.Eventually(t, func() bool {
		return len(guestsOn(get(server().Handler(r.Store), "/").Body.String())) == 4
	}, time.Minute, time.Millisecond, "the page itself lets the pools be read")
}

func TestPageOpensADisk(t *testing.T) {
	w := world()
	for i := range 2500 {
		s := snapshot("frequently", uint64(10+i), time.Duration(4000-i)*time.Hour)
		w.Datasets[2].Snapshots = append(w.Datasets[2].Snapshots, s)
	}
	w.Datasets[2].Snapshots = append(w.Datasets[2].Snapshots, zfstest.Snapshot{Name: "by-hand", GUID: 1, TXG: 9, Creation: start.Unix()})
	r := newRig(t, w)
	const path = "/?disk=tank/a/vm-100-disk-0"
	assert.Contains(t, r.waitPage(t, path), "Its snapshots are being listed.")
	page := r.waitPage(t, path)
	assert.Contains(t, page, "The newest 2000 of 2502 snapshots are drawn.")
	assert.Contains(t, page, `<g class="lane s-frequently">`)
	assert.Contains(t, page, ">critical 6h</text>")
	assert.Contains(t, page, "<title>by-hand, 2026-03-29 12:00:00, 0s ago</title>")
	assert.Contains(t, page, `<g class="lane s-other">`)
	assert.Less(t, strings.Count(page, "<"), 900, "a class of many is one path")
	assert.Contains(t, page, "rpool/data/vm-100-disk-0 on east")
	assert.Contains(t, page, "limit 2h, limits.warning")
	r.fake.Forget()
	r.waitPage(t, path)
	assert.NotContains(t, strings.Join(r.fake.Calls(), "\n"), "-d 1 -t snapshot", "the list is kept")
	r.clock.forward(historyAge)
	r.waitPage(t, path)
	assert.Contains(t, strings.Join(r.fake.Calls(), "\n"), "-d 1 -t snapshot", "for a while")
	assert.Contains(t, r.waitPage(t, "/?disk=tank/none"), "There is no disk of this name.")
}

func TestPageShowsTheLastRun(t *testing.T) {
	run := lastRun
	run.Node, run.Problems = "pve1", []report.Problem{{Severity: report.Warning, Text: "pool <x> is full"}}
	for range 30 {
		run.Problems = append(run.Problems, report.Problem{Text: "again"})
	}
	var err error
	r := newRig(t, world(), func(s *Settings) {
		s.Runs = Runs{Last: func() (report.Run, error) { return run, err }, Expected: func() bool { return true }}
	})
	page := r.waitPage(t, "/")
	assert.Contains(t, page, "not everything was snapshotted")
	assert.Contains(t, page, "pool &lt;x&gt; is full")
	assert.Equal(t, 19, strings.Count(page, "again"))
	err = errors.New("last-run.json: unexpected end")
	assert.Contains(t, r.waitPage(t, "/"), "last-run.json: unexpected end")
}

func TestPageDoesNotWaitForTheRunsReport(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	r := newRig(t, world(), func(s *Settings) {
		s.Runs = Runs{Last: func() (report.Run, error) { <-hang; return report.Run{}, nil }}
	})
	for range 2 {
		assert.Contains(t, r.waitPage(t, "/"), "reading the report of the last run takes longer than")
	}
}

func TestPageFilesAreGuardedAndAllThere(t *testing.T) {
	r := newRig(t, world())
	handler := server().Handler(r.Store)
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files, err := filepath.Glob("page/*.[cjs][sv]*")
	require.NoError(t, err)
	require.Len(t, files, 6)
	for _, path := range files {
		name := filepath.Base(path)
		w := get(handler, "/page/"+name)
		assert.Equal(t, 200, w.Code, name)
		assert.Equal(t, kinds[filepath.Ext(name)], w.Header().Get("Content-Type"))
		assert.Equal(t, 403, getAt(handler, nil, "/page/"+name).Code)
	}
	for _, name := range []string{"page.html", "none", "..%2fauth.go"} {
		assert.Equal(t, 404, get(handler, "/page/"+name).Code, name)
	}
	policy := get(handler, "/").Header().Get("Content-Security-Policy")
	assert.NotContains(t, policy, "unsafe")
	assert.NotContains(t, r.waitPage(t, "/"), "style=")
}
