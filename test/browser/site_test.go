package browser

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/exporter"
	"snapwatch/internal/report"
	"snapwatch/internal/zfstest"
)

// playing reports whether this process is a test's fake zfs or fake zpool.
func playing() bool { return slices.Contains([]string{"zfs", "zpool"}, filepath.Base(os.Args[0])) }

// noon is the time on the site's clock at the beginning of each test.
var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// site is the real exporter with a fake zfs and a clock that tests set.
type site struct {
	t     *testing.T
	fake  *zfstest.Fake
	store *exporter.Store
	url   string
	// close stops the web server.
	close func()

	mu sync.Mutex
	at time.Time
}

func newSite(t *testing.T, w zfstest.World, change ...func(*exporter.Settings)) *site {
	t.Helper()
	s := &site{t: t, fake: zfstest.New(t, w), at: noon}
	settings := exporter.Settings{
		Config:      config.Default(),
		Scanner:     scan.Scanner{Kstat: s.fake.Kstat, LockDir: s.fake.LockDir, Now: s.now},
		StateDir:    t.TempDir(),
		ScanTimeout: time.Minute, MaxDataAge: 10 * time.Minute,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&settings)
	}
	s.store = exporter.NewStore(settings)
	server := exporter.Server{MetricsPath: "/metrics", Host: "vault", Version: "1.0.0", Log: slog.New(slog.DiscardHandler)}
	web := httptest.NewServer(server.Handler(s.store))
	t.Cleanup(func() {
		web.Close()
		require.Eventually(t, s.store.Quiet, timeout, time.Millisecond)
	})
	s.url, s.close = web.URL, web.Close
	s.read()
	return s
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *site) forward(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

// read makes the exporter read the pools as a scrape does. First, read waits until all reads of the
// pools that loads of the page started have ended.
func (s *site) read() {
	s.t.Helper()
	require.Eventually(s.t, s.store.Quiet, timeout, time.Millisecond)
	s.store.Refresh(s.t.Context())
}

func snapshot(class string, txg uint64, at time.Time) zfstest.Snapshot {
	name := "autosnap_" + at.Format("2006-01-02_15:04:05") + "_" + class
	return zfstest.Snapshot{Name: name, GUID: 1000 + txg, TXG: txg, Creation: at.Unix()}
}

// disk returns a disk whose newest snapshot has the given class and age.
func disk(name string, class string, age time.Duration) zfstest.Dataset {
	at := noon.Add(-age)
	return zfstest.Dataset{
		Name: name, GUID: guid(name), Creation: noon.AddDate(-1, 0, 0).Unix(), Changed: at.Unix(),
		Labels:    map[string][3]string{"label:running": {"pve1", "pve1", "received"}},
		Snapshots: []zfstest.Snapshot{snapshot(class, 9, at)},
	}
}

func guid(name string) (sum uint64) {
	for _, c := range []byte(name) {
		sum = sum*31 + uint64(c)
	}
	return sum
}

// grown returns a copy of the disk d that also has older snapshots, from a whole year.
func grown(d zfstest.Dataset) zfstest.Dataset {
	newest := time.Unix(d.Snapshots[0].Creation, 0).UTC()
	var all []zfstest.Snapshot
	add := func(class string, many int, step time.Duration, first time.Duration) {
		for i := range many {
			all = append(all, snapshot(class, uint64(1000-len(all)), newest.Add(-first-time.Duration(i)*step)))
		}
	}
	add("frequently", 47, 15*time.Minute, 15*time.Minute)
	add("hourly", 24, time.Hour, time.Hour)
	add("daily", 30, 24*time.Hour, 10*time.Hour)
	add("weekly", 8, 7*24*time.Hour, 20*time.Hour)
	add("monthly", 11, 30*24*time.Hour, 25*24*time.Hour)
	add("stopped", 2, 19*24*time.Hour, 12*24*time.Hour)
	d.Snapshots[0].TXG = 2000
	d.Snapshots = append(d.Snapshots, all...)
	return d
}

// copied returns a second copy of the disk d, without the newest snapshot of d.
func copied(d zfstest.Dataset, name string) zfstest.Dataset {
	d.Name, d.GUID, d.Snapshots = name, guid(name), d.Snapshots[1:]
	return d
}

// estate returns the disks of a typical host with copies: some guests, and some faults.
func estate() zfstest.World {
	stopped := func(name string, age time.Duration) zfstest.Dataset {
		d := disk(name, "stopped", age)
		d.Labels = map[string][3]string{"label:running": {"stopped", "stopped", "received"}}
		return d
	}
	scratch := disk("backup/pve/vm-190-disk-0", "hourly", 300*time.Hour)
	receiving := zfstest.Dataset{Name: "backup/pve/vm-131-disk-0", GUID: 77, Creation: noon.Add(-3 * time.Hour).Unix(), Receiving: true, Token: true}
	return zfstest.World{Datasets: []zfstest.Dataset{
		{Name: "backup", GUID: 1}, {Name: "archive", GUID: 2},
		grown(disk("backup/pve/vm-100-disk-0", "hourly", 12*time.Minute)),
		disk("backup/pve/vm-100-disk-1", "hourly", 12*time.Minute),
		disk("backup/pve/vm-101-disk-0", "frequently", 8*time.Minute),
		grown(disk("backup/pve/vm-104-disk-0", "hourly", 7*time.Hour+20*time.Minute)),
		disk("backup/pve/vm-104-disk-1", "hourly", 7*time.Hour+20*time.Minute),
		disk("backup/pve/subvol-110-disk-0", "daily", 23*time.Minute),
		disk("backup/pve/subvol-111-disk-0", "frequently", 8*time.Minute),
		disk("backup/pve/vm-112-disk-0", "hourly", 3*time.Hour+50*time.Minute),
		stopped("backup/pve/vm-120-disk-0", 4*24*time.Hour),
		stopped("backup/pve/vm-120-disk-1", 4*24*time.Hour),
		receiving, scratch,
		copied(grown(disk("backup/pve/vm-100-disk-0", "hourly", 12*time.Minute)), "archive/pve/vm-100-disk-0"),
		disk("archive/pve/vm-101-disk-0", "frequently", 38*time.Minute),
	}}
}

// watchConfig sets the configuration, and the report of the last run, for the exporter of the host
// with the disks of the function estate.
func watchConfig(s *exporter.Settings) {
	s.Config.Maintenance = []config.Maintenance{{
		Selector: config.Selector{Disk: "archive/pve/vm-101-*"}, Until: noon.Add(30 * time.Hour), Reason: "moves to new disks",
	}}
	s.Config.Overrides = []config.Override{{Selector: config.Selector{Disk: "backup/pve/vm-190-*"}, Ignore: true}}
	for _, dataset := range []string{"backup/pve", "archive/pve"} {
		s.Config.Sources = append(s.Config.Sources, config.Source{Dataset: dataset, Origin: "rpool/data", Cluster: "office"})
	}
	s.Runs = exporter.Runs{
		Last: func() (report.Run, error) {
			return report.Run{
				Node: "vault", Start: noon.Add(-9 * time.Minute), End: noon.Add(-9*time.Minute + 1700*time.Millisecond), Success: true,
				LastSuccess: noon.Add(-9 * time.Minute), Retention: "f48 h24 d30", Counts: map[report.Event]int{report.DidSnapshot: 4, report.DidDestroy: 3},
			}, nil
		},
		Expected: func() bool { return true },
	}
}

// many returns n disks, three for each guest. The disks of every 167th guest are stale.
func many(n int) zfstest.World {
	w := zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}}}
	for i := range n {
		age := time.Duration(i/3%110) * time.Minute
		if i/3%167 == 0 {
			age = 9 * time.Hour
		}
		w.Datasets = append(w.Datasets, disk(fmt.Sprintf("tank/data/vm-%d-disk-%d", 100+i/3, i%3), "hourly", age))
	}
	return w
}

func upper(lines []string) string { return strings.ToUpper(strings.Join(lines, "\n")) }
