//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestZFSVersions checks the claims of docs/zfs-versions.md about the version of ZFS in the lab's
// machine.
func TestZFSVersions(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, site.CreateZvol(w.ctx, "ta/data/vm-100-disk-0", 8))
	w.zfs("snapshot", "ta/data/vm-100-disk-0@one")
	version := regexp.MustCompile(`zfs-kmod-(\d+\.\d+)`).FindStringSubmatch(w.zfs("version"))
	require.NotNil(t, version)

	column := columnOf(t, page(t, "docs/zfs-versions.md"), version[1])
	for _, question := range []struct {
		begins string
		ask    func() bool
	}{
		{"tell a disk's newest snapshot", func() bool {
			r, err := w.c.RunAs(w.ctx, "nobody", "zfs", "get", "-Hpo", "value", "prevsnap", "ta/data/vm-100-disk-0")
			return err == nil && r.Code == 0 && strings.TrimSpace(r.Stdout) == "ta/data/vm-100-disk-0@one"
		}},
		{"tell when a disk's list", func() bool { return w.tellsChanges("ta/data/vm-100-disk-0") }},
		{"take snapshots of many disks", func() bool {
			return w.program(`zfs.sync.snapshot("ta/data@two"); return zfs.sync.snapshot("ta/data/vm-100-disk-0@two")`)
		}},
		{"make a bookmark", func() bool {
			return w.program(`zfs.sync.snapshot("ta/data/vm-100-disk-0@three"); return zfs.sync.bookmark("ta/data/vm-100-disk-0@three", "ta/data/vm-100-disk-0#three")`)
		}},
		{"destroy a bookmark", func() bool {
			return w.program(`return zfs.sync.destroy("ta/data/vm-100-disk-0#three")`)
		}},
		{"let a user receive", func() bool { return w.appends("ta/data/vm-100-disk-0", "tc/appended") }},
	} {
		said, ok := "", false
		for row, answer := range column {
			if strings.HasPrefix(row, question.begins) {
				said, ok = answer, true
			}
		}
		require.True(t, ok, "no row: %s", question.begins)
		assert.Equal(t, said, map[bool]string{true: "yes", false: "no"}[question.ask()], "%s, on %s", question.begins, version[1])
	}
	assert.Len(t, column, 6, "a row that nobody asks")
}

// tellsChanges reports whether this ZFS has the property snapshots_changed, the time of the last
// change of a dataset's list of snapshots.
func (w *world) tellsChanges(dataset string) bool {
	w.t.Helper()
	r, err := w.c.Run(w.ctx, "zfs", "get", "-Hpo", "value", "snapshots_changed", dataset)
	require.NoError(w.t, err)
	return r.Code == 0
}

// appends reports whether ZFS has a permission for appending: a user with only this permission can
// receive an increment of the disk, but cannot receive with a rollback of the copy.
func (w *world) appends(disk, copied string) bool {
	w.t.Helper()
	sh := func(user, script string) int {
		r, err := w.c.RunAs(w.ctx, user, "sh", "-c", script, "sh", disk, copied)
		require.NoError(w.t, err)
		w.t.Logf("%s: %s: %d\n%s%s", user, script, r.Code, r.Stdout, r.Stderr)
		return r.Code
	}
	require.Zero(w.t, sh("root", `zfs send "$1@two" >/tmp/full && zfs send -i @two "$1@three" >/tmp/increment && chmod a+r /tmp/increment
		zfs receive -u "$2@two" </tmp/full`))
	if sh("root", `zfs allow -u nobody receive:append,create,mount "$2"`) != 0 {
		return false
	}
	require.Zero(w.t, sh("root", `zfs snapshot "$2@own"`))
	assert.NotZero(w.t, sh("nobody", `zfs receive -F -u "$2" </tmp/increment`), "a user who may only append rolled the copy back")
	require.Zero(w.t, sh("root", `zfs list "$2@own" && zfs destroy "$2@own"`))
	return sh("nobody", `zfs receive -u "$2" </tmp/increment`) == 0
}

// program runs a channel program, and reports whether the program succeeds with the return value 0.
func (w *world) program(lua string) bool {
	w.t.Helper()
	r, err := w.c.Run(w.ctx, "sh", "-c", `printf '%s' "$1" | zfs program -j ta -`, "sh", lua)
	require.NoError(w.t, err)
	w.t.Logf("%s\n%s%s", lua, r.Stdout, r.Stderr)
	return r.Code == 0 && regexp.MustCompile(`"return":\s*0`).MatchString(r.Stdout)
}

// columnOf returns the column of one version in the table of docs/zfs-versions.md. The keys are the
// first cells of the rows.
func columnOf(t *testing.T, page, version string) map[string]string {
	t.Helper()
	answers := map[string]string{}
	at := -1
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---"):
		case at < 0:
			for i, c := range cells {
				if c == version {
					at = i
				}
			}
			require.Positive(t, at, "no column for %s", version)
		default:
			answers[cells[0]] = cells[at]
		}
	}
	return answers
}
