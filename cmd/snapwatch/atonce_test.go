package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// siteEnvironment returns the environment of a process on a replica whose fake zfs is in dir.
func siteEnvironment(dir string) *environment {
	at := func(name string) string { return filepath.Join(dir, name) }
	return &environment{
		Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
		ConfigPath: at("config.yaml"), Kstat: at("kstat"), LockDir: at("lock"), StateDir: at("state"),
	}
}

// TestChecksAtTheSameTime: forty checks, each of one guest, start together while zfs is slow. The
// forty checks share one reading of the pool, so that no check runs out of time.
func TestChecksAtTheSameTime(t *testing.T) {
	w := zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}}, Faults: []zfstest.Fault{{Takes: 200 * time.Millisecond}}}
	for i := range 40 {
		d := vm(100+i, "hourly", time.Since(noon)-time.Hour)
		d.Snapshots[0].Creation = time.Now().Add(-time.Hour).Unix()
		w.Datasets = append(w.Datasets, d)
	}
	w.Zpool = map[string]string{"tank": fmt.Sprintf(`"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"FINISHED","end_time":"%d"}`, time.Now().Unix())}
	f := zfstest.New(t, w)
	self, err := os.Executable()
	require.NoError(t, err)
	var checks sync.WaitGroup
	for i := range 40 {
		checks.Go(func() {
			var out bytes.Buffer
			// The limit of 60 s is for the test machine, on which 40 processes share two
			// processors.
			check := exec.CommandContext(t.Context(), self, "check", "--seen", f.Path("seen.json"), "-t", "60s", "--vmid", strconv.Itoa(100+i))
			check.Args[0] = "snapwatch-at-a-site"
			check.Env = append(os.Environ(), "SITE="+filepath.Dir(f.Kstat), "XDG_CACHE_HOME="+f.Path("cache"))
			check.Stdout, check.Stderr = &out, &out
			assert.NoError(t, check.Run(), "%s", &out)
			assert.Contains(t, out.String(), "OK: 1 of 1 guests whole, 1 of 1 disks fresh")
		})
	}
	checks.Wait()
	listings := 0
	for _, call := range f.Calls() {
		if strings.HasPrefix(call, "get ") {
			listings++
		}
	}
	assert.Less(t, listings, 20, "without sharing it is 40")
	t.Log(listings, "listings")
}
