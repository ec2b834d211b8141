package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
)

// A guest's life is seen in /run and /proc, by any user.
func TestLiving(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) string {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	pid := write("qemu-server/100.pid", "42\n")
	write("42/cmdline", "/usr/bin/kvm\x00-id\x00100\x00-pidfile\x00/var/run/qemu-server/100.pid\x00")
	write("qemu-server/101.pid", "43\n") // a crash left it behind
	write("net/unix", "x: 2 0 0 1 1 1 @/var/lib/lxc/102/command\n")
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local)
	require.NoError(t, os.Chtimes(pid, since, since))
	env := &environment{PVE: pve.Host{Run: dir, Proc: dir, Cgroup: dir}}
	for vmid, want := range map[int]struct {
		alive bool
		since time.Time
	}{100: {true, since}, 101: {}, 102: {alive: true}, 103: {}} {
		at, alive := env.living(vmid)
		assert.Equal(t, want.alive, alive, vmid)
		assert.True(t, want.since.Equal(at), vmid)
	}
}

// A path that the server cannot have is refused in words, and ends in no panic.
func TestMetricsPath(t *testing.T) {
	for given, want := range map[string]string{
		"/metrics": "/metrics", "/a/b.c": "/a/b.c", "/metrics/": "/metrics",
		"": "", "metrics": "", "/": "", "/-/healthy": "", "/api/v1/disks": "", "/api": "", "/page/x": "", "/{x}": "", "/a b": "", "/{$}": "",
	} {
		got, err := (&exporterCmd{Path: given}).metricsPath()
		assert.Equal(t, want, got, given)
		assert.Equal(t, want == "", err != nil, given)
	}
}
