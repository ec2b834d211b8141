package exporter

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/test/cputime"
)

// storeWith returns an exporter's store with the given number of disks, all fresh; the
// store never reads the pools again.
func storeWith(disks int) *Store {
	pool := checker.Pool{Name: "tank", ReadAt: start}
	for i := range disks {
		dataset := fmt.Sprintf("tank/replica/site-a/vm-%d-disk-%d", 100+i/2, i%2)
		made := start.Add(-time.Duration(i/2%90) * time.Minute) // the snapshots of a guest's two disks are from one run
		pool.Disks = append(pool.Disks, checker.Disk{
			Dataset: dataset, VMID: 100 + i/2, GUID: uint64(i + 1), Created: start.Add(-24 * time.Hour), ReadAt: start, HostClock: start,
			Newest:  &zfs.Snapshot{Dataset: dataset, Name: zfs.FormatSnapshotName(made, zfs.Hourly), GUID: uint64(i), Creation: made},
			Running: zfs.Property{Value: "pve1", Received: "pve1", Source: zfs.SourceReceived},
			Looked:  &checker.Looked{Config: &checker.KeptConfig{Day: made.Format(time.DateOnly)}}, // today's configuration was looked up
		})
	}
	// The disks are in the order in which zfs list prints them.
	slices.SortFunc(pool.Disks, func(a, b checker.Disk) int { return strings.Compare(a.Dataset, b.Dataset) })
	cfg := config.Default()
	cfg.Datasets = []string{"tank/replica"}
	store := NewStore(Settings{
		Config:  cfg,
		Scanner: scan.Scanner{Kstat: "/nonexistent", Now: func() time.Time { return start.Add(time.Minute) }},
		Reuse:   time.Hour, MaxDataAge: time.Hour, ScanTimeout: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	store.pools["tank"] = readPool(pool, store.targets()["tank"])
	return store
}

// The store that BenchmarkScrape uses has all its disks in every scrape.
func TestManyAreScraped(t *testing.T) {
	h := Server{MetricsPath: "/metrics", Log: slog.New(slog.DiscardHandler)}.Handler(storeWith(10))
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		assert.Equal(t, 10, strings.Count(w.Body.String(), "\nsnapwatch_disk_info{"))
	}
}

// scraped requests the exporter's metrics once, as Prometheus does.
func scraped(b *testing.B, h http.Handler, encoding string) {
	b.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", encoding)
	w := &counting{header: http.Header{}}
	h.ServeHTTP(w, r)
	if w.status > 200 || w.n == 0 {
		b.Fatalf("status %d, %d bytes", w.status, w.n)
	}
	b.ReportMetric(float64(w.n), "bytes/scrape")
}

type counting struct {
	header http.Header
	status int
	n      int
}

func (c *counting) Header() http.Header { return c.header }
func (c *counting) WriteHeader(s int)   { c.status = s }
func (c *counting) Write(p []byte) (int, error) {
	c.n += len(p)
	return io.Discard.Write(p)
}

// BenchmarkScrape measures a scrape of 10 000 disks without reading ZFS.
func BenchmarkScrape(b *testing.B) {
	store := storeWith(10000)
	h := Server{MetricsPath: "/metrics", Log: slog.New(slog.DiscardHandler)}.Handler(store)
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			began := cputime.Used()
			for b.Loop() {
				scraped(b, h, encoding)
			}
			cputime.Report(b, began)
		})
	}
}

// BenchmarkClientGolang measures how client_golang's registry gathers the same metrics, without
// printing them.
func BenchmarkClientGolang(b *testing.B) {
	store := storeWith(10000)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{report: store.Report, config: store.config})
	b.ReportAllocs()
	began := cputime.Used()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
	cputime.Report(b, began)
}

// BenchmarkReport measures judging 10 000 disks.
func BenchmarkReport(b *testing.B) {
	store := storeWith(10000)
	b.ReportAllocs()
	began := cputime.Used()
	for b.Loop() {
		if r := store.Report(); len(r.Disks) != 10000 {
			b.Fatal(len(r.Disks))
		}
	}
	cputime.Report(b, began)
}

func readPool(read checker.Pool, roots []string) *pool {
	return &pool{tried: read, good: read, endedAt: start, roots: roots}
}
