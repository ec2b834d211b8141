package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
)

// Any user can see in /run and /proc whether a guest is alive.
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
	write("qemu-server/101.pid", "43\n") // a pid file that a crash has left
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

// If the exporter's server cannot use the path in --web.telemetry-path, the exporter prints a
// message and does not start. The exporter does not panic.
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

// When the exporter is asked to reload, it reads its configuration again. The exporter keeps
// running even if the new configuration is faulty.
func TestReload(t *testing.T) {
	work := t.TempDir()
	write := func(text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(work, "etc"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(work, "etc/config.yaml"), []byte(text), 0o600))
	}
	write("limits: {warning: 2h}\n")
	cmd := exec.CommandContext(t.Context(), "snapwatch", "exporter", "--web.listen-address=127.0.0.1:0", "--state-dir="+work)
	cmd.Env = append(os.Environ(), "WORK="+work, "NOW=2026-07-15T12:07:00Z", "GORACE=atexit_sleep_ms=0")
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(io.LimitReader(log, 1<<20))
	await := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("%q was never said", text)
	}
	await("Listening on")
	write("limit: {warning: 3h}\n")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	await("configuration refused, the last good one stays in force")
	write("limits: {warning: 3h}\n")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	await("configuration read again")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, cmd.Wait())
}

// The exporter reads the time between two runs of snap or prune from cron's lines. If a systemd
// timer starts the runs, the exporter does not know the time between two runs.
func TestHowOftenJobsStart(t *testing.T) {
	dir := t.TempDir()
	env := &environment{CronFile: filepath.Join(dir, "cron.d/snapwatch"), Crontab: filepath.Join(dir, "crontab"), RootCrontab: filepath.Join(dir, "root"), TimerLink: filepath.Join(dir, "timer")}
	require.NoError(t, os.Mkdir(filepath.Dir(env.CronFile), 0o755))
	lines := func(text string) { require.NoError(t, os.WriteFile(env.CronFile, []byte(text), 0o600)) }
	assert.Zero(t, snapPeriod(env))
	lines("0 * * * * root /usr/bin/snapwatch snap f48\n*/30 * * * * root /usr/bin/snapwatch snap h24\n@daily root /usr/bin/snapwatch prune h24\n")
	assert.Equal(t, 30*time.Minute, snapPeriod(env))
	assert.Equal(t, 24*time.Hour, pruneJob.period(env))
	require.NoError(t, os.WriteFile(env.TimerLink, nil, 0o600))
	assert.Zero(t, snapPeriod(env))
}
