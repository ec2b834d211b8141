package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/remote"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

var update = flag.Bool("update", false, "write the golden files again")

func TestMain(m *testing.M) { zfstest.Main(m) }

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests can set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func snapshot(class string, txg uint64, age time.Duration) zfstest.Snapshot {
	at := start.Add(-age)
	name := "autosnap_" + at.Format("2006-01-02_15:04:05") + "_" + class
	return zfstest.Snapshot{Name: name, GUID: 1000 + txg, TXG: txg, Creation: at.Unix()}
}

func disk(name string, guid uint64, snapshots ...zfstest.Snapshot) zfstest.Dataset {
	return zfstest.Dataset{Name: name, GUID: guid, Creation: start.Add(-48 * time.Hour).Unix(), Changed: start.Add(-time.Hour).Unix(), Snapshots: snapshots}
}

func world() zfstest.World {
	labelled := disk("tank/a/vm-100-disk-0", 1, snapshot("hourly", 1, 30*time.Minute))
	labelled.Labels = map[string][3]string{"label:running": {"pve1", "pve1", "received"}}
	return zfstest.World{Datasets: []zfstest.Dataset{
		{Name: "rpool", GUID: 1},
		{Name: "tank", GUID: 1},
		labelled,
		disk("tank/a/subvol-101-disk-0", 2, snapshot("stopped", 2, 24*time.Hour)),
		disk("tank/b/vm-102-disk-0", 3),
		disk("tank/b/vm-103-disk-0", 4, snapshot("daily", 3, 7*time.Hour)),
	}}
}

// rig is an exporter under test: a store with a fake zfs and a clock that the test sets.
type rig struct {
	*Store
	fake  *zfstest.Fake
	clock *clock
	log   *bytes.Buffer
	dir   string
}

func newRig(t *testing.T, w zfstest.World, change ...func(*Settings)) *rig {
	t.Helper()
	r := &rig{fake: zfstest.New(t, w), clock: &clock{at: start}, log: &bytes.Buffer{}, dir: t.TempDir()}
	r.restart(change...)
	t.Cleanup(func() {
		assert.Eventually(t, func() bool { r.fake.EndHung(); return r.Quiet() && !r.scans() }, time.Minute, time.Millisecond)
	})
	return r
}

// scans reports whether the exporter is reading a pool. A reading may take longer than
// the request that started the reading.
func (r *rig) scans() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pools {
		if p.scanning != nil {
			return true
		}
	}
	return false
}

// settle waits for the end of all readings that the page started in the background.
func (r *rig) settle(t *testing.T) {
	assert.Eventually(t, r.Quiet, time.Minute, time.Millisecond)
}

func (r *rig) restart(change ...func(*Settings)) {
	cfg := config.Default()
	cfg.Sources = []config.Source{{Dataset: "tank/a", Origin: "rpool/data", Cluster: "east"}}
	s := Settings{
		Config:      cfg,
		Scanner:     scan.Scanner{Kstat: r.fake.Kstat, LockDir: r.fake.LockDir, Now: r.clock.now},
		StateDir:    r.dir,
		ScanTimeout: time.Minute,
		MaxDataAge:  10 * time.Minute,
		Log:         slog.New(slog.NewTextHandler(&lockedWriter{w: r.log}, nil)),
	}
	for _, c := range change {
		c(&s)
	}
	r.Store = NewStore(s)
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func server() Server {
	return Server{MetricsPath: "/metrics", Log: slog.New(slog.DiscardHandler)}
}

// get sends the handler a request to the loopback address, and returns the recorded response.
func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	return getAt(h, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, path, header...)
}

func getAt(h http.Handler, local net.Addr, path string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Host = "localhost:10191"
	request = request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, local))
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	return w
}

func (r *rig) scrape() string { return get(server().Handler(r.Store), "/metrics").Body.String() }

func line(metrics, begin string) string {
	for l := range strings.Lines(metrics) {
		if strings.HasPrefix(l, begin) {
			return strings.TrimSpace(l[strings.LastIndexByte(strings.TrimSpace(l), ' ')+1:])
		}
	}
	return "no such series"
}

func TestExpositionIsAsInTheGoldenFile(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Drills = drills(t, proven) })
	r.scrape()
	r.settle(t) // the pools' health is read in the background
	metrics := r.scrape()
	var kept []string
	for l := range strings.Lines(metrics) {
		if !strings.Contains(l, "snapwatch_build_info") {
			kept = append(kept, l)
		}
	}
	got := strings.Join(kept, "")
	path := filepath.Join("testdata", "metrics.prom")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestMetricsAreLintedAndOfTheCatalogue(t *testing.T) {
	node := &owner{}
	node.says(alive(start))
	r := newRig(t, world(), asks(node), func(s *Settings) {
		s.Owners = func() (pve.Owners, error) { return pve.Owners{Node: "pve1"}, nil }
		s.DamageReport = filepath.Join(t.TempDir(), scan.DamageName)
		require.NoError(t, scan.SaveDamage(s.DamageReport, map[string]*checker.Damage{"tank": {At: start}}))
		s.Drills = drills(t, proven)
	})
	r.Refresh(t.Context())
	r.settle(t)
	require.Eventually(t, func() bool { return r.guests.known() != nil }, time.Minute, time.Millisecond)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{report: r.Report, config: r.config})
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Len(t, families, len(catalogue))
}

func TestEveryDiskHasExactlyOneSuffixAndOneState(t *testing.T) {
	r := newRig(t, world())
	sums := map[string]int{}
	for l := range strings.Lines(r.scrape()) {
		for _, set := range []string{"snapwatch_disk_newest_snapshot_suffix{", "snapwatch_disk_state{"} {
			if strings.HasPrefix(l, set) && strings.HasSuffix(l, " 1\n") {
				dataset := l[strings.Index(l, `dataset="`):strings.Index(l, `",disk=`)]
				sums[set+dataset]++
			}
		}
	}
	assert.Len(t, sums, 8)
	for set, n := range sums {
		assert.Equal(t, 1, n, set)
	}
}

func TestAgesAndVerdictsAreOfTheScrape(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Reuse = time.Hour })
	const fresh = `snapwatch_disk_state{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",state="fresh",`
	const age = `snapwatch_disk_newest_snapshot_age_seconds{dataset="tank/a/vm-100-disk-0"`
	first := r.scrape()
	assert.Equal(t, "1", line(first, fresh))
	assert.Equal(t, "1800", line(first, age))
	r.fake.Forget()
	r.clock.forward(9 * time.Minute)
	second := r.scrape()
	assert.Equal(t, "1", line(second, fresh))
	assert.Equal(t, "2340", line(second, age))
	r.clock.forward(2 * time.Minute)
	third := r.scrape()
	assert.Equal(t, "0", line(third, fresh))
	assert.Equal(t, "1", line(third, strings.Replace(fresh, "fresh", "unreadable", 1)), "what was read is too old")
	assert.NotContains(t, strings.Join(r.fake.Calls(), "\n"), "get -Hp -r", "no pool is read again")
}

func TestWhatWasReadLastIsServedWhileAPoolFails(t *testing.T) {
	r := newRig(t, world())
	r.scrape()
	r.fake.Pool("tank", "SUSPENDED")
	r.clock.forward(time.Minute)
	metrics := r.scrape()
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_scrape_success{pool="tank"}`))
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_scrape_success{pool="rpool"}`))
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="suspended"}`))
	assert.Equal(t, "2", line(metrics, `snapwatch_pool_status{pool="tank",state="suspended"}`), "at once")
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="rpool",state="ok"}`))
	assert.Equal(t, "1.7747856e+09", line(metrics, `snapwatch_pool_last_success_timestamp_seconds{pool="tank"}`))
	assert.Equal(t, "1860", line(metrics, `snapwatch_disk_newest_snapshot_age_seconds{dataset="tank/a/vm-100-disk-0"`))
	assert.Equal(t, "4", line(metrics, `snapwatch_pool_disks{pool="tank"}`))
	assert.Contains(t, r.log.String(), "suspended")
}

func TestAPoolThatIsGoneIsMissingWithItsDisks(t *testing.T) {
	r := newRig(t, world())
	r.scrape()
	r.fake.Pool("tank", "")
	const missing = `snapwatch_disk_state{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",state="missing",`
	assert.Equal(t, "1", line(r.scrape(), missing))
	r.restart()
	metrics := r.scrape()
	assert.Equal(t, "1", line(metrics, missing), "it is remembered over a restart")
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_disks{pool="tank"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_scrape_success{pool="tank"}`))
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="missing"}`))

	// The test plays that another process has run snapwatch forget: the inventory file no longer
	// has the pool's disks.
	r.forget(t, "tank")
	assert.NotContains(t, r.scrape(), "vm-100-disk-0")
}

// forget removes a dataset from the inventory file as the command snapwatch forget does.
func (r *rig) forget(t *testing.T, dataset string) {
	t.Helper()
	path := filepath.Join(r.dir, InventoryName)
	seen, err := scan.LoadInventory(path)
	require.NoError(t, err)
	seen, _ = seen.Forget(dataset, r.clock.now())
	require.NoError(t, seen.Save(path))
}

func (r *rig) seen(t *testing.T) []string {
	t.Helper()
	seen, err := scan.LoadInventory(filepath.Join(r.dir, InventoryName))
	require.NoError(t, err)
	return slices.Sorted(maps.Keys(seen.Disks))
}

// An inventory file that was cut short does not count as empty. The exporter renames a damaged
// inventory file. For a day, the loss of the inventory is reported on the page, by check and by a
// metric.
func TestADamagedInventoryIsToldForADay(t *testing.T) {
	r := newRig(t, world())
	r.scrape()
	path := filepath.Join(r.dir, InventoryName)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)/2], 0o600))
	r.restart()
	assert.Equal(t, "0", line(r.scrape(), "snapwatch_memory_kept"))
	assert.Len(t, r.seen(t), 4)
	assert.FileExists(t, path+".broken")
	assert.Contains(t, r.log.String(), "disks seen before")
	require.Len(t, r.Report().Notes, 1)
	assert.Contains(t, r.Report().Notes[0].Text, "are not missed: disks seen before")
	r.restart()
	assert.Equal(t, "0", line(r.scrape(), "snapwatch_memory_kept"), "another process tells it, too")
	r.clock.forward(25 * time.Hour)
	assert.Equal(t, "1", line(r.scrape(), "snapwatch_memory_kept"))
	assert.Empty(t, r.Report().Notes)

	// An exporter that has the whole inventory in memory writes the inventory file again.
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	assert.Equal(t, "1", line(r.scrape(), "snapwatch_memory_kept"))
	assert.Len(t, r.seen(t), 4)
}

// The contents of an inventory file that cannot be read may be intact, so the file is neither
// overwritten nor renamed.
func TestAnInventoryThatCannotBeReadIsLeftAlone(t *testing.T) {
	r := newRig(t, world())
	r.scrape()
	path := filepath.Join(r.dir, InventoryName)
	require.NoError(t, os.Rename(path, path+".good"))
	require.NoError(t, os.Mkdir(path, 0o700)) // read(2) of a directory fails, as it does with EIO
	r.restart()
	w := world()
	w.Datasets = append(w.Datasets, disk("tank/a/vm-109-disk-0", 109, snapshot("hourly", 9, time.Hour)))
	r.fake.Set(w)
	for range 2 {
		assert.Equal(t, "0", line(r.scrape(), "snapwatch_memory_kept"))
	}
	assert.DirExists(t, path)
	assert.NoFileExists(t, path+".broken")
	assert.Equal(t, 1, strings.Count(r.log.String(), "level=ERROR"), r.log.String())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(path+".good", path))
	assert.Equal(t, "1", line(r.scrape(), "snapwatch_memory_kept"))
	assert.Len(t, r.seen(t), 5, "what was seen meanwhile is added")
}

func TestAnInventoryThatIsGoneIsWrittenAgain(t *testing.T) {
	r := newRig(t, world())
	r.scrape()
	require.NoError(t, os.Remove(filepath.Join(r.dir, InventoryName)))
	r.fake.Pool("tank", "")
	r.scrape()
	assert.Len(t, r.seen(t), 4)
}

// A script runs zfs destroy and snapwatch forget while scrapes are under way. A scrape that read a
// disk before the disk was forgotten must not add the disk to the inventory again.
func TestWhatIsForgottenWhileAScrapeReadsStaysSo(t *testing.T) {
	w := world()
	r := newRig(t, w)
	r.scrape()
	gate := r.fake.Path("gate")
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, WaitFor: gate}}
	r.fake.Set(w)
	r.fake.Forget()
	var scraping sync.WaitGroup
	scraping.Go(func() { r.scrape() })
	require.Eventually(t, func() bool { return len(r.fake.Calls()) > 0 }, 10*time.Second, time.Millisecond)
	r.clock.forward(time.Second)
	r.forget(t, "tank/a/vm-100-disk-0")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	scraping.Wait()
	assert.NotContains(t, r.seen(t), "tank/a/vm-100-disk-0")
	w.Faults = nil
	w.Datasets = slices.DeleteFunc(slices.Clone(w.Datasets), func(d zfstest.Dataset) bool { return d.Name == "tank/a/vm-100-disk-0" })
	r.fake.Set(w)
	r.clock.forward(time.Minute)
	assert.NotContains(t, r.scrape(), "vm-100-disk-0")
}

func TestAStateDirectoryThatCannotBeWrittenIsSaidOnce(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.StateDir = "/proc/nowhere" })
	r.scrape()
	r.scrape()
	assert.Equal(t, 1, strings.Count(r.log.String(), "disks seen before"), r.log.String())
	r.fake.Pool("tank", "")
	assert.Contains(t, r.scrape(), "vm-100-disk-0", "this process remembers all the same")
}

func TestScrapesAtTheSameTimeShareOneScan(t *testing.T) {
	w := world()
	r := newRig(t, w)
	gate := r.fake.Path("gate")
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, WaitFor: gate}}
	r.fake.Set(w)
	handler := server().Handler(r.Store)
	var scrapes sync.WaitGroup
	for range 4 {
		scrapes.Go(func() { get(handler, "/metrics") })
	}
	require.Eventually(t, func() bool { return len(r.fake.Calls()) >= 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	scrapes.Wait()
	heads := 0
	for _, call := range r.fake.Calls() {
		if strings.HasPrefix(call, "get") && strings.HasSuffix(call, " tank") {
			heads++
		}
	}
	assert.Equal(t, 1, heads, "%q", r.fake.Calls())
}

func TestAScrapeAnswersInTimeWhileZFSHangs(t *testing.T) {
	w := world()
	w.Datasets = append(w.Datasets, disk("rpool/vm-7-disk-0", 70))
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Hang: true}}
	r := newRig(t, w)
	handler := server().Handler(r.Store)
	for range 20 {
		answer := get(handler, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.05").Body.String()
		assert.Equal(t, "0", line(answer, `snapwatch_pool_scrape_success{pool="tank"}`))
	}
	r.fake.AwaitHung(1)
	assert.Eventually(t, func() bool {
		answer := get(handler, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.5").Body.String()
		return line(answer, `snapwatch_pool_scrape_success{pool="rpool"}`) == "1"
	}, 30*time.Second, time.Millisecond)
	assert.Equal(t, 1, r.fake.Hung())
	assert.Eventually(t, func() bool {
		get(handler, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.5")
		seen, err := scan.LoadInventory(filepath.Join(r.dir, InventoryName))
		return err == nil && len(seen.Disks) == 1
	}, 30*time.Second, time.Millisecond, "the other pool's disks are remembered all the same")
}

func TestAScanThatTakesLongerThanAScrapeIsNoFaultForAWhile(t *testing.T) {
	w := world()
	r := newRig(t, w)
	r.scrape()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Hang: true}}
	r.fake.Set(w)
	handler := server().Handler(r.Store)
	state := func(name string) string {
		r.clock.forward(time.Minute)
		metrics := get(handler, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "0.05").Body.String()
		assert.Equal(t, "0", line(metrics, `snapwatch_pool_scrape_success{pool="tank"}`))
		return line(metrics, `snapwatch_pool_state{pool="tank",state="`+name+`"}`)
	}
	assert.Equal(t, "1", state("ok"))
	r.fake.AwaitHung(1)
	r.clock.forward(10 * time.Minute)
	assert.Equal(t, "1", state("unreadable"), "nothing that was read counts any longer")
}

func TestTimeoutOf(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultWait, "10": 9500 * time.Millisecond, "0.6": 300 * time.Millisecond, "-1": defaultWait, "NaN": defaultWait,
		"x": defaultWait, "1e9": defaultWait, "3600": longestWait - waitOffset,
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		assert.Equal(t, want, timeoutOf(request), header)
	}
}

func TestAHostileStreamCannotChangeTheSeries(t *testing.T) {
	names := func(metrics string) (series []string) {
		for l := range strings.Lines(metrics) {
			if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "snapwatch_disk_info") {
				series = append(series, l[:strings.LastIndexByte(l, ' ')])
			}
		}
		return series
	}
	r := newRig(t, world())
	r.scrape()
	r.settle(t)
	want := names(r.scrape())
	for _, value := range []string{"a\nb", "a\tb", "\xff\xfe", `x",y="z`, strings.Repeat("n", 8000), "a\n# HELP x y\nx 1", "tank/a/vm-999-disk-0"} {
		w := world()
		w.Datasets[2].Labels = map[string][3]string{"label:running": {value, "-", "received"}}
		r.fake.Set(w)
		metrics := r.scrape()
		assert.Equal(t, want, names(metrics), "%q", value)
		assert.Equal(t, 1, strings.Count(metrics, `snapwatch_disk_info{dataset="tank/a/vm-100-disk-0"`))
		assert.Equal(t, "1", line(metrics, `snapwatch_pool_scrape_success{pool="tank"}`))
	}
}

func TestOnlyMetricsAreServedToStrangers(t *testing.T) {
	r := newRig(t, world())
	dir := t.TempDir()
	auth, open := filepath.Join(dir, "auth.yml"), filepath.Join(dir, "open.yml")
	require.NoError(t, os.WriteFile(auth, []byte("basic_auth_users:\n  a: $2y$10$x\n"), 0o600))
	require.NoError(t, os.WriteFile(open, []byte("http_server_config:\n  http2: false\n"), 0o600))
	loopback, stranger := &net.TCPAddr{IP: net.IPv6loopback}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	for name, c := range map[string]struct {
		config string
		local  net.Addr
		status int
	}{
		"loopback":                {"", loopback, 200},
		"unix socket":             {"", &net.UnixAddr{Name: "/run/x"}, 200},
		"stranger":                {"", stranger, 403},
		"stranger, no auth":       {open, stranger, 403},
		"stranger, with auth":     {auth, stranger, 200},
		"stranger, file missing":  {filepath.Join(dir, "none"), stranger, 403},
		"unknown kind of address": {"", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := server()
			s.WebConfig = c.config
			h := s.Handler(r.Store)
			for _, path := range []string{"/", "/api/v1/disks"} {
				w := getAt(h, c.local, path, "Authorization", "Basic YTpi") // like a request whose password exporter-toolkit has accepted
				assert.Equal(t, c.status, w.Code, path)
				if c.status == 200 && c.config == auth {
					assert.Equal(t, 403, getAt(h, c.local, path).Code, "the users came after exporter-toolkit had looked")
				}
				if c.status == 403 {
					assert.Contains(t, w.Body.String(), "not loopback")
					assert.NotContains(t, w.Body.String(), "vm-100")
				}
			}
			assert.Equal(t, 200, getAt(h, c.local, "/metrics").Code)
			assert.Equal(t, 200, getAt(h, c.local, "/-/healthy").Code)
			assert.Equal(t, 404, getAt(h, c.local, "/debug/pprof/").Code)
		})
	}
}

func TestPageAndAPIEscapeWhatTheyShow(t *testing.T) {
	w := world()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Exit: 1, Stderr: "<script>alert(1)</script>\n"}}
	r := newRig(t, w)
	r.Refresh(t.Context())
	page := get(server().Handler(r.Store), "/")
	assert.NotContains(t, page.Body.String(), "<script>")
	assert.Contains(t, page.Body.String(), "&lt;script&gt;")
	assert.Contains(t, page.Header().Get("Content-Security-Policy"), "default-src 'none'")
}

func TestAPIAnswersWithTheFactsThatCheckNeeds(t *testing.T) {
	r := newRig(t, world())
	answer := get(server().Handler(r.Store), "/api/v1/disks")
	var doc checker.Document
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &doc))
	assert.Equal(t, "CRITICAL", doc.State)
	require.Len(t, doc.Disks, 4)
	assert.Equal(t, "tank/b/vm-102-disk-0", doc.Disks[0].Dataset, "the worst comes first")
	assert.Equal(t, "1003", doc.Disks[1].Newest.GUID)

	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	facts, err := remote.Read(t.Context(), live.URL, time.Minute)
	require.NoError(t, err)
	report := checker.Assemble(facts.Pools, checker.NewPolicy(config.Default()), start)
	assert.Equal(t, checker.Critical, report.State())
	assert.Len(t, report.Disks, 4)
}
