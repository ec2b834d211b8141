package exporter

import (
	"context"
	"path/filepath"
	"sync"

	"snapwatch/checker"
	"snapwatch/checker/scan"
)

// health contains the health of pools as zpool last reported it. zpool runs in the background,
// and a scrape gets the last known health.
type health struct {
	file scan.HealthFile

	mu    sync.Mutex
	known map[string]*checker.Health
	// busy is the set of the pools for which zpool is running.
	busy map[string]bool
}

func healthFile(s Settings) scan.HealthFile {
	f := scan.HealthFile{Report: s.DamageReport}
	if s.StateDir != "" {
		f.Prefix = filepath.Join(s.StateDir, "health-")
	}
	return f
}

// askHealth starts reading the health of the pools for which no reading is running, and does not
// wait. [scan.Scanner.Health] runs zpool at most every five minutes.
func (s *Store) askHealth(pools []string) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known, h.busy = map[string]*checker.Health{}, map[string]bool{}
	}
	for _, pool := range pools {
		if h.busy[pool] {
			continue
		}
		h.busy[pool] = true
		last := h.known[pool]
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.settings.ScanTimeout)
			defer cancel()
			h.learn(pool, s.settings.Scanner.Health(ctx, h.file, pool, last))
		}()
	}
}

func (h *health) learn(pool string, known *checker.Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[pool] = known
	delete(h.busy, pool)
}

// healthOf returns the last known health of a pool, nil before the first reading. Callers must
// not change the returned health.
func (h *health) healthOf(pool string) *checker.Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[pool]
}

// idle reports whether no reading of a pool's health is running.
func (h *health) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.busy) == 0
}

var (
	poolStatus = newMetric("pool_status",
		"How severe this verdict on the pool is: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; 0 if it does not apply. snapwatch check gives the pool the verdict with the worst state.", "pool", "state")
	poolFill = newMetric("pool_fill_ratio",
		"Used part of the pool, from 0 to 1. Absent until zpool has answered.", "pool")
	poolSize = newMetric("pool_size_bytes",
		"Size of the pool's devices, with the parity.", "pool")
	poolScrubbed = newMetric("pool_last_scrub_timestamp_seconds",
		"When the last known scrub ended. Absent if no scrub is known.", "pool")
	poolScrubbing = newMetric("pool_scrub_running",
		"1 while a scrub is under way or paused, else 0.", "pool")
	poolErrors = newMetric("pool_permanent_errors",
		"How many permanent errors ZFS reports in the pool.", "pool")
	poolDeviceErrors = newMetric("pool_device_errors",
		"How many errors the pool's devices and groups of devices have counted since zpool clear or the import.", "pool", "kind")
	poolHealthRead = newMetric("pool_health_timestamp_seconds",
		"When zpool last reported the pool's health.", "pool")
	poolDamageRead = newMetric("pool_damage_report_timestamp_seconds",
		"When root last looked where the pool's permanent errors are. Absent where it never did.", "pool")
)

// healthCatalogue lists the metrics of pools' health.
var healthCatalogue = []metric{poolStatus, poolFill, poolSize, poolScrubbed, poolScrubbing, poolErrors, poolDeviceErrors, poolHealthRead, poolDamageRead}

// collectHealth sends the metrics of a pool's health, as far as the health is known.
func collectHealth(out sink, p checker.PoolResult) {
	h := p.Health
	if h == nil {
		return
	}
	if h.Damage != nil {
		out.send(poolDamageRead, seconds(h.Damage.At), p.Name)
	}
	if h.ReadAt.IsZero() {
		return
	}
	out.send(poolHealthRead, seconds(h.ReadAt), p.Name)
	if fill, known := h.Fill(); known {
		out.send(poolFill, fill, p.Name)
		out.send(poolSize, float64(h.Size), p.Name)
	}
	if !h.LastScrub.IsZero() {
		out.send(poolScrubbed, seconds(h.LastScrub), p.Name)
	}
	out.send(poolScrubbing, boolValue(h.Scrub.UnderWay()), p.Name)
	out.send(poolErrors, float64(h.DataErrors), p.Name)
	var read, write, checksum uint64
	for _, d := range h.Devices {
		read, write, checksum = read+d.Read, write+d.Write, checksum+d.Checksum
	}
	out.send(poolDeviceErrors, float64(read), p.Name, "read")
	out.send(poolDeviceErrors, float64(write), p.Name, "write")
	out.send(poolDeviceErrors, float64(checksum), p.Name, "checksum")
}
