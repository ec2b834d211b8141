//go:build e2e

package e2e

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch"
	"snapwatch/test/pages"
	"snapwatch/test/site"
)

// page returns the text of one of the project's pages.
func page(t *testing.T, path string) string {
	t.Helper()
	text, err := fs.ReadFile(snapwatch.Pages, path)
	require.NoError(t, err)
	return string(text)
}

// shown has all blocks of commands in the project's pages that one test must play.
type shown struct {
	t      *testing.T
	blocks []pages.Block
}

// shown returns the blocks that this test must play; the test fails at its end if a block was not
// played.
func (w *world) shown() *shown {
	w.t.Helper()
	blocks, err := pages.PlayedBy(w.t.Name())
	require.NoError(w.t, err)
	s := &shown{w.t, blocks}
	w.t.Cleanup(func() {
		if !w.t.Failed() {
			assert.Empty(w.t, s.blocks, "not played")
		}
	})
	return s
}

// block returns the block of a page that begins with the given text, and removes the block from the
// blocks that the test must still play. words has pairs: a text of the page, and the text that
// replaces it in the lab.
func (s *shown) block(page, begins string, words ...string) string {
	s.t.Helper()
	for i, b := range s.blocks {
		if b.Page == page && strings.HasPrefix(b.Text, begins) {
			s.blocks = slices.Delete(s.blocks, i, i+1)
			for j := 0; j < len(words); j += 2 {
				require.Contains(s.t, b.Text, words[j], "%s:%d", page, b.Line)
			}
			return strings.NewReplacer(words...).Replace(b.Text)
		}
	}
	require.Fail(s.t, "no such block", "%s: %s", page, begins)
	return ""
}

// terminal installs snapwatch on a site at the program's usual place, and also a script that
// replaces ssh to the other sites.
func (w *world) terminal(s *site.Site, ssh string) {
	w.t.Helper()
	_, err := s.Output(w.ctx, "sh", "-c", "install -D -o root -m 755 "+program(w.t)+" "+site.BinDir+"/snapwatch")
	require.NoError(w.t, err)
	require.NoError(w.t, s.Install("ssh", "#!/bin/sh\nshift\n"+ssh+"\n"))
}

// typed types lines at a terminal and returns the output; all commands must succeed.
func (w *world) typed(s *site.Site, lines string) string {
	w.t.Helper()
	require.NoError(w.t, s.WriteFile("/etc/snapwatch/typed", lines))
	r, err := s.Run(w.ctx, "script", "-qec", "PATH="+site.BinDir+":$PATH TERM=dumb sh -e /etc/snapwatch/typed", "/dev/null")
	require.NoError(w.t, err)
	w.t.Logf("root@%s# %s%s%s-> %d", s.Name, lines, r.Stdout, r.Stderr, r.Code)
	require.Zero(w.t, r.Code, r.Stdout+r.Stderr)
	return r.Stdout
}

// TestPages types the commands of the pages on the sites that the pages name, and checks the output
// and the results that the pages describe.
func TestPages(t *testing.T) {
	w := newNetwork(t)
	shown := w.shown()
	for _, s := range []*site.Site{w.a, w.b, w.c} {
		w.terminal(s, `exec sh -c "$*"`)
	}
	const a, off, c = "ta/data/vm-100-disk-0", "ta/data/vm-101-disk-0", "tc/vm-100-disk-0"
	words := []string{"f48", "h24", "d30"}
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+shown.block("docs/hooks.md", "capture_config")))
	w.vm(100, "vm-100-disk-0")
	w.vm(101, "vm-101-disk-0")
	w.vm(103, "vm-103-disk-0")
	w.start(w.a, 100)
	w.fill(a, 200)

	t.Log("migrating.md: sanoid snapshotted guests that are off")
	for _, d := range []string{off, "ta/data/vm-103-disk-0"} {
		w.zfs("snapshot", d+"@autosnap_2026-07-14_00:00:05_daily")
	}
	w.snap(w.a, words...)
	w.replicate("vm-101-disk-0")
	w.advanceClock(7 * time.Hour)
	require.Equal(t, 2, w.check("--disk", "vm-101-disk-0").Code, "left alone, C alarms")
	adopt := shown.block("docs/migrating.md", "snapwatch snap f48 h24 d30 --adopt")
	list, take, _ := strings.Cut(adopt, "\n")
	said := w.typed(w.a, list)
	assert.Contains(t, said, off)
	assert.Contains(t, said, "ta/data/vm-103-disk-0")
	require.Equal(t, []string{"daily"}, w.classes(off), "it takes none")
	w.typed(w.a, take)
	for _, d := range []string{off, "ta/data/vm-103-disk-0"} {
		require.Equal(t, []string{"daily", "stopped"}, w.classes(d))
		assert.Equal(t, "stopped", w.label(d))
	}
	w.replicate("vm-101-disk-0")
	assert.Zero(t, w.check("--disk", "vm-101-disk-0").Code)

	t.Log("replication.md: syncoid, and whether the label arrives")
	w.typed(w.c, shown.block("docs/replication.md", "syncoid", "A:tank/", "ta/", " tank/", " tc/"))
	w.assertSameBytes(a, c)
	labels := w.typed(w.c, shown.block("docs/replication.md", "zfs get", " tank", " tc"))
	assert.Regexp(t, `(?m)^tc/vm-100-disk-0\s+pve-a\s+pve-a\s+received\s*$`, labels)
	assert.Regexp(t, `(?m)^tc/vm-101-disk-0\s+-\s+-\s+-\s*$`, labels, "sent without properties")

	t.Log("README.md: on C")
	lines := strings.Split(shown.block("README.md", "snapwatch check"), "\n")
	assert.Contains(t, w.typed(w.c, lines[0]), "OK")
	// This block of the page has two commands that do not end by themselves: exporter and status
	// --watch.
	exporter, err := w.c.Start(w.ctx, "sh", "-c", "PATH="+site.BinDir+":$PATH; exec "+lines[1])
	require.NoError(t, err)
	require.NoError(t, exporter.WaitFor(w.ctx, "Listening on"))
	assert.Contains(t, w.typed(w.c, "curl -s http://127.0.0.1:10191/metrics"), "snapwatch_disk_state")
	exporter.Stop()
	assert.Contains(t, w.typed(w.c, "status=0; timeout --foreground 10 "+strings.Split(lines[2], "#")[0]+" || status=$?; test $status = 124"), "vm-100-disk-0")
	exporter = w.answersByTLS(shown)
	said = w.typed(w.c, lines[3])
	assert.Contains(t, said, "vm-100-disk-0")
	assert.Contains(t, said, a, "A did not answer")
	exporter.Stop()
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\n"))
	assert.Equal(t, []string{""}, lines[4:])

	t.Log("configuration.md, runbooks.md: a seed is held")
	settings := w.typed(w.a, shown.block("docs/configuration.md", "snapwatch config check", "rpool/", "ta/"))
	assert.Contains(t, settings, "confirm_stop")
	base := w.snapshots(a)[0]
	hold, release, _ := strings.Cut(shown.block("docs/runbooks.md", "zfs hold", "A-disk", a, "OLDEST", base), "\n")
	holds := func() string { return strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "userrefs", a+"@"+base)) }
	w.typed(w.a, hold)
	assert.Equal(t, "1", holds())
	w.typed(w.a, release)
	assert.Equal(t, "0", holds())

	t.Log("replication.md: by hand, from a bookmark")
	require.Contains(t, w.bookmarks(a), base)
	w.fill(a, 100)
	w.snap(w.a, words...)
	w.fill(a, 50)
	w.snap(w.a, words...)
	for _, common := range w.common(a, c) {
		w.zfs("destroy", a+"@"+common)
	}
	rest := w.snapshots(a)
	said = w.typed(w.a, shown.block("docs/replication.md", "zfs list -d 1",
		"autosnap_2026-01-31_00:00:01_daily", base, "NEXT", rest[0], "NEWEST", rest[len(rest)-1], "A-disk", a, "C-disk", c))
	assert.Contains(t, said, a+"#"+base)
	w.assertSameBytes(a, c)

	t.Log("replication.md: prune, unblock")
	w.typed(w.c, shown.block("docs/replication.md", "snapwatch prune"))
	line, err := w.c.ReadFile("/etc/cron.d/snapwatch")
	require.NoError(t, err)
	assert.Contains(t, line, "prune f96 h48 d60 m24\n")
	w.zfs("snapshot", a+"@before-upgrade")
	w.fill(a, 50)
	w.snap(w.a, words...)
	list, remove, _ := strings.Cut(shown.block("docs/replication.md", "snapwatch unblock"), "\n")
	newest := w.snapshots(a)
	assert.Contains(t, w.typed(w.a, list), a+"@"+newest[len(newest)-1])
	assert.Equal(t, newest, w.snapshots(a))
	w.typed(w.a, remove)
	newest = w.snapshots(a)
	assert.Equal(t, "before-upgrade", newest[len(newest)-1])

	t.Log("runbooks.md: A comes back and has a configuration of a guest that runs elsewhere")
	require.NoError(t, w.a.KillGuest(100))
	w.typed(w.a, shown.block("docs/runbooks.md", "mv "))
	w.run(w.a, append([]string{"snap"}, words...)...)
	assert.NotContains(t, w.classes(a), "stopped")

	t.Log("hooks.md: what the guest is made of")
	made := strings.Split(shown.block("docs/hooks.md", "snapwatch guest-config", "autosnap_2026-07-15_12:00:00_hourly", w.snapshots(c)[len(w.snapshots(c))-1]), "\n")
	for _, line := range made[:2] {
		assert.Contains(t, w.typed(w.c, line), "scsi0: local-zfs:vm-100-disk-0")
	}
	require.NoError(t, w.b.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [tb/data]\n"))
	w.send(c, "tb/data/vm-100-disk-0", "--sendoptions=p")
	w.typed(w.b, made[2])
	taken, err := w.b.ReadFile("/etc/pve/qemu-server/100.conf")
	require.NoError(t, err)
	assert.Contains(t, taken, "scsi0: local-zfs:vm-100-disk-0")
	assert.Equal(t, []string{""}, made[3:])
}

// answersByTLS starts an exporter on A with TLS, and configures C to ask this exporter under the
// host name a, as the pages describe.
func (w *world) answersByTLS(shown *shown) *site.Process {
	w.t.Helper()
	w.typed(w.a, shown.block("docs/exporter.md", "openssl req", "snapwatch-exporter", "root"))
	require.NoError(w.t, w.a.WriteFile("/etc/snapwatch/web.yaml", shown.block("docs/exporter.md", "tls_server_config", "$2y$10$…", replicaHash)))
	require.NoError(w.t, w.a.WriteFile("/etc/snapwatch/owner.yaml", "datasets: [ta]\n"))
	exporter := w.exporter(w.a, "--config=/etc/snapwatch/owner.yaml", "--web.config.file=/etc/snapwatch/web.yaml", "--web.listen-address=:10191")

	certificate, err := w.a.ReadFile("/etc/snapwatch/tls.crt")
	require.NoError(w.t, err)
	for path, text := range map[string]string{
		"/etc/snapwatch/ca.crt": certificate, "/etc/snapwatch/password": "replica\n", "/etc/hosts": "192.0.2.1 a\n",
		"/etc/snapwatch/config.yaml": "datasets: [tc]\n" + shown.block("docs/check.md", "owners:"),
	} {
		require.NoError(w.t, w.c.WriteFile(path, text))
	}
	return exporter
}
