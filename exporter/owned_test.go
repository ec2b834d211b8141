package exporter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/report"
)

// A node's answer to a host with copies names the disks of which snap takes snapshots on the node,
// and the guests of these disks.
func TestANodeTellsWhatItHas(t *testing.T) {
	w := primaryWorld()
	off := disk("rpool/data/vm-104-disk-0", 16, snapshot("stopped", 8, 24*time.Hour))
	excluded := disk("rpool/data/vm-100-disk-1", 17, snapshot("hourly", 9, time.Hour))
	excluded.Labels = map[string][3]string{"label:nosnap": {"true", "-", "local"}}
	w.Datasets = append(w.Datasets, off, excluded, disk("rpool/data/base-105-disk-0", 18, snapshot("hourly", 10, time.Hour)))
	r := newRig(t, w, owns(100, 102, 103, 104, 105), func(s *Settings) {
		s.Config.Replicas = []string{"rpool/rep"}
		s.Living = func(vmid int) (time.Time, bool) { return start, vmid == 104 }
		s.Runs.Last = func() (report.Run, error) { return report.Run{Names: map[int]string{100: "web01"}}, nil }
	})
	r.Refresh(t.Context())
	answer := r.compare(t.Context(), checker.CompareRequest{})
	require.Len(t, answer.Guests, 2, "103 has no snapshot, 102 is a copy, 105 a template; 101 is not here")
	web, off1 := answer.Guests[0], answer.Guests[1]
	assert.Equal(t, "web01", web.Name)
	assert.Equal(t, "rpool/data/vm-100-disk-0", web.Disks[0].Dataset)
	assert.Len(t, web.Disks, 1)
	assert.Equal(t, start.Add(-time.Minute).Unix(), web.Disks[0].Newest.Unix())
	assert.Equal(t, 104, off1.VMID)
	assert.True(t, off1.Alive, "its newest snapshot does not show it")
	assert.False(t, web.Alive, "its newest snapshot does")
}

// While snap fails on a node, the newest snapshot of a disk only gets older. The node's answer says
// whether the disk's guest is alive, whatever the class of the newest snapshot is.
func TestANodeTellsThatAGuestLivesWhileSnapFails(t *testing.T) {
	w := primaryWorld()
	w.Datasets = append(w.Datasets, disk("rpool/data/vm-104-disk-0", 16, snapshot("hourly", 8, 30*time.Hour)))
	r := newRig(t, w, owns(104), func(s *Settings) {
		s.Living = func(vmid int) (time.Time, bool) { return start, vmid == 104 }
	})
	r.Refresh(t.Context())
	answer := r.compare(t.Context(), checker.CompareRequest{})
	require.Len(t, answer.Guests, 1)
	assert.True(t, answer.Guests[0].Alive)
}

// An exporter that was started while a pool is suspended answers that the pool was not read, so
// that other hosts do not treat the pool's disks as gone.
func TestANodeTellsWhatItHasNotRead(t *testing.T) {
	r := newRig(t, primaryWorld(), owns(100, 101))
	r.Refresh(t.Context())
	before := r.compare(t.Context(), checker.CompareRequest{})
	assert.Empty(t, before.Unread)
	r.fake.Pool("rpool", "SUSPENDED")
	r.restart(owns(100, 101))
	r.Refresh(t.Context())
	answer := r.compare(t.Context(), checker.CompareRequest{})
	assert.Equal(t, []string{"rpool"}, answer.Unread)
	had, has := before.Node("pve1"), answer.Node("pve1")
	had.At, has.At = start, start.Add(time.Minute)
	known, _ := scan.Inventory{}.Heard([]checker.NodeAnswer{had}, had.At)
	known, _ = known.Heard([]checker.NodeAnswer{has}, has.At)
	assert.Empty(t, known.Former([]checker.NodeAnswer{has})[0].Former)
}
