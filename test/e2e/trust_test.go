//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// hog is a script that another user runs. The script first creates the lock files that do not exist
// yet. Then the script locks all files of snapwatch and all lock files that the user can open,
// except Proxmox's locks of guests.
const hog = `for pool in ta tc; do touch /run/lock/snapwatch-$pool.lock /run/lock/snapwatch-list-$pool@0.lock; done 2>/dev/null
find /run /var/lib/snapwatch /var/lib/snapwatch-exporter -type f -not -path '*/qemu-server/*' -not -path '*/lxc/*' 2>/dev/null | while read -r file; do
	( exec 9<"$file" && flock -x -n 9 && echo "holds $file" && exec sleep infinity ) 2>/dev/null &
	sleep 0.1
done
echo that is everything
exec sleep infinity
`

// TestAnotherUserHoldsEverything: another user of the machine locks all files of snapwatch, and all
// lock files, that this user can open. Although another user has locked the files, nodes take their
// snapshots, check and the exporter work, and check notices missing disks. snapwatch reports each
// lock for which snapwatch did not wait.
func TestAnotherUserHoldsEverything(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\n"))
	w.exporter(w.c, "--web.listen-address=127.0.0.1:10191", "--max-data-age=10m")
	scrape := func() string {
		out, err := w.c.Output(w.ctx, "curl", "-s", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 60", "http://127.0.0.1:10191/metrics")
		require.NoError(t, err)
		return out
	}
	scrape()
	assert.Zero(t, w.check().Code)

	var hogs []*site.Process
	for _, s := range []*site.Site{w.a, w.c} {
		p, err := s.StartAs(w.ctx, "daemon", "sh", "-c", hog)
		require.NoError(t, err)
		require.NoError(t, p.WaitFor(w.ctx, "that is everything"))
		hogs = append(hogs, p)
	}

	w.snap(w.a, "f4")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	r := w.check("-t", "40s", "-v")
	assert.Zero(t, r.Code, "nothing is blinded")
	assert.Regexp(t, "/run/lock/snapwatch-list-tc.lock is locked by .*: not waited for", r.Stdout)

	// If a disk appears while another user holds all locks, the exporter adds the disk to its list
	// of known disks all the same.
	w.zfs("create", "-V", "1M", "tc/vm-102-disk-0")
	assert.Contains(t, scrape(), `disk="vm-102-disk-0"`)
	w.zfs("destroy", "tc/vm-102-disk-0")
	assert.Contains(t, scrape(), `disk="vm-102-disk-0"`)
	r = w.check("-t", "40s")
	assert.Equal(t, 2, r.Code)
	assert.Contains(t, r.Stdout, "vm-102-disk-0")

	held := hogs[0].Kill().Stdout + hogs[1].Kill().Stdout
	t.Log(held)
	assert.Contains(t, held, "holds /run/lock/snapwatch-list-tc.lock")
	assert.NotContains(t, held, "/run/snapwatch/")
	assert.NotContains(t, held, "seen.json.lock")
}

// TestALabelMakesUpNoDisk: a label from a received stream contains rows that look like the rows of
// a disk. check shows no disk that exists only in the text of a label, and judges all real disks.
func TestALabelMakesUpNoDisk(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	const disk = "tc/vm-100-disk-0"
	guid := strings.TrimSpace(w.zfs("get", "-Hp", "-o", "value", "guid", disk))
	rows := "off\treceived\n" + disk + "\tlabel:nosnap\t-\t-\n" + disk + "\tguid\t" + guid + "\t-"
	for _, p := range []string{"creation\t1", "origin\t-", "prevsnap\t-", "inconsistent\t1", "receive_resume_token\t-", "written\t0", "snapshots_changed\t-"} {
		rows += "\ntc/vm-900-disk-0\t" + p + "\t-"
	}
	w.zfs("set", "label:running="+rows+"\ntc/vm-900-disk-0\tlabel:running\tx", disk)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\n"))
	r := w.check("-t", "40s", "--format", "json")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, disk+": its labels could not be read")
	assert.Contains(t, r.Stdout, `"tc/vm-100-disk-1"`)
	assert.NotContains(t, r.Stdout, `"tc/vm-900-disk-0"`)
}
