package snapper

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// arrivals returns a pool's history with a receive of each snapshot of the disk d. The history is
// complete from the transaction group `since`.
func arrivals(d *Disk, since uint64) *zfs.History {
	h := &zfs.History{Since: since}
	for _, s := range d.Snapshots {
		h.Received = append(h.Received, zfs.Received{Dataset: d.Name, Name: s.Name, TXG: s.CreateTXG})
	}
	return h
}

// A local label counts as set by this node under two conditions: state.json lists the disk as this
// node's up to a transaction group, and no snapshot was received into the disk after this
// transaction group. In this test's table, Own is the transaction group of the disk's first
// snapshot.
func TestWhoseWordALabelIs(t *testing.T) {
	taken := []string{disk0 + " stopped label=stopped"}
	older := func(d *Disk) { d.Creation = noon }
	known := func(own uint64) func(*Disk) {
		return func(d *Disk) { d.Checked = report.Checked{GUID: d.GUID, Own: own, Foreign: own == 0} }
	}
	history := func(h zfs.History) func(*Disk) { return func(d *Disk) { d.History = &h } }
	unread := func(d *Disk) { d.HistoryProblem = "it was not there" }
	sign := func(d *Disk) { d.Sign = "it has received properties" }
	received := func(d *Disk) { d.History = arrivals(d, 1) }
	for _, test := range []struct {
		name    string
		newer   string // a snapshot that is newer than the disk's first one
		changes []func(*Disk)
		want    []string
		ask     bool
		why     string
	}{
		{"the state was lost", "", nil, taken, false, ""},
		{"the state was lost, with a sign", "", []func(*Disk){older}, nil, false, "is older than the dataset"},
		{"the state has another dataset of that name", "", []func(*Disk){known(1), func(d *Disk) { d.Checked.GUID++ }}, taken, false, ""},
		{"the pool was rewound, with a sign", "", []func(*Disk){known(60), older}, nil, false, "is older than"},
		{"the state does not say whose it is", "", []func(*Disk){known(0), func(d *Disk) { d.Checked.Foreign = false }}, taken, false, ""},
		{"the state does not say whose it is, with a sign", "", []func(*Disk){known(0), func(d *Disk) { d.Checked.Foreign = false }, older}, nil, false, "is older than the dataset"},
		{"never this node's", "", []func(*Disk){known(0)}, nil, false, "never seen running on it here"},
		{"this node's", "", []func(*Disk){known(1)}, taken, false, ""},
		{"this node's, restored from a copy once", "", []func(*Disk){known(1), older}, taken, false, ""},
		{"a newer one", "managed", []func(*Disk){known(1)}, nil, true, "was not read"},
		{"a newer one, received", "managed", []func(*Disk){known(1), received}, nil, false, "was received here, according to the pool's history"},
		{"a newer one, made here", "managed", []func(*Disk){known(1), history(zfs.History{Since: 1})}, taken, false, ""},
		{"a newer one, the history begins later", "managed", []func(*Disk){known(1), history(zfs.History{Since: 2})}, nil, false, "reaches back to txg 2 only"},
		{"a newer one, the history does not tell", "managed", []func(*Disk){known(1), history(zfs.History{Since: 1, Breaks: map[string]zfs.Break{disk0: {TXG: 2, Why: "it was promoted"}}})}, nil, false, "it was promoted"},
		{"a newer one, the history cannot be read", "managed", []func(*Disk){known(1), unread}, nil, false, "could not be read: it was not there"},
		{"a newer one of others, received", "zrepl_1", []func(*Disk){known(1), received}, nil, false, "was received here"},
		{"a newer one of pvesr, the history cannot be read", "__replicate_100-0_1784000000__", []func(*Disk){known(1), unread, sign}, taken, false, ""},
		{"a newer one of another guest's pvesr, the history cannot be read", "__replicate_10-0_1784000000__", []func(*Disk){known(1), unread, sign}, nil, false, "may have been received"},
		{"a newer one of others and a sign, the history cannot be read", "zrepl_1", []func(*Disk){known(1), unread, sign}, nil, false, "may have been received"},
		{"received while its guest was elsewhere in the cluster", "managed", []func(*Disk){known(1), func(d *Disk) { d.Checked.Elsewhere = true }}, taken, false, ""},
		{"a person says so", "managed", []func(*Disk){known(1), received, func(d *Disk) { d.VMID = 7 }}, taken, false, ""},
	} {
		for _, label := range []string{"pve1", "stopped"} {
			t.Run(test.name+", "+label, func(t *testing.T) {
				w := &world{policy: testPolicy(), now: noon}
				d := stoppedDisk(label)
				d.GUID, d.PoolTXG = 5, 50
				w.managed(&d, zfs.Hourly, noon.Add(-4*time.Hour))
				if test.newer == "managed" {
					w.managed(&d, zfs.Hourly, noon.Add(-3*time.Hour))
				} else if test.newer != "" {
					w.snap(&d, test.newer, noon.Add(-3*time.Hour))
				}
				for _, change := range test.changes {
					change(&d)
				}
				w.policy.Adopt = []string{"7"}
				plan := MakePlan([]Disk{d}, w.policy, noon)
				assert.Equal(t, test.want, stepsOf(plan))
				assert.Equal(t, test.ask, len(plan.Ask.Histories) > 0)
				require.Len(t, plan.Notes, 1)
				assert.Contains(t, plan.Notes[0].Reason, test.why)
				assert.Equal(t, test.why != "", plan.Notes[0].Adoptable)
				warns := strings.Contains(test.why, "may have been received") || slices.Contains([]string{"reaches back to txg 2 only", "it was promoted", "could not be read: it was not there"}, test.why)
				assert.Equal(t, warns, plan.Notes[0].Severity == report.Warning, "nothing tells, of a disk that was this node's")
			})
		}
	}
}

// A snapshot of zrepl looks the same on a source and on a copy. If the pool's history is
// incomplete, and the disk has a newer snapshot of zrepl, the label decides. If the label has this
// node's name, the disk is this node's own. If the label is "stopped", it is doubtful whether the
// disk is this node's own.
func TestNewerOnesOfOthersUntold(t *testing.T) {
	for label, want := range map[string]Word{"pve1": Own, "stopped": Untold} {
		w := &world{}
		d := stoppedDisk(label)
		d.GUID, d.PoolTXG, d.Checked, d.HistoryProblem = 5, 50, report.Checked{GUID: 5, Own: 1}, "it was not there"
		w.managed(&d, zfs.Hourly, noon.Add(-4*time.Hour))
		w.snap(&d, "zrepl_1", noon.Add(-3*time.Hour))
		word, _ := d.word()
		assert.Equal(t, want, word, label)
	}
}

// TestNextOwn checks the record in state.json that shows to the next run whether a disk is this
// node's own.
func TestNextOwn(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Disk)
		made   uint64
		want   uint64
	}{
		{"its guest runs here", func(d *Disk) { d.State = Running }, 0, 2},
		{"its guest runs here, and it was snapshotted", func(d *Disk) { d.State = Running }, 9, 9},
		{"its guest runs here, and it has no snapshot", func(d *Disk) { d.State, d.Snapshots = Running, nil }, 0, 1},
		{"running, but of no guest of this node", func(d *Disk) { d.State, d.Guests = Running, nil }, 0, 1},
		{"its last snapshot was made", func(*Disk) {}, 9, 9},
		{"nothing happened", func(*Disk) {}, 0, 1},
		{"it was received onto", func(d *Disk) { d.History = arrivals(d, 1) }, 0, 0},
		{"never this node's", func(d *Disk) { d.Checked.Own, d.Checked.Foreign = 0, true }, 0, 0},
		{"the state did not say whose it is", func(d *Disk) { d.Checked.Own = 0 }, 0, 2},
		{"the state was lost", func(d *Disk) { d.Checked = report.Checked{} }, 0, 2},
		{"the state was lost, with a sign", func(d *Disk) { d.Checked, d.Creation = report.Checked{}, noon }, 0, 0},
		{"the state was lost, not labelled", func(d *Disk) { d.Checked, d.Running = report.Checked{}, zfs.Property{} }, 0, 0},
		{"its guest comes back", func(d *Disk) { d.Checked.Elsewhere = true }, 0, 2},
		{"it cannot be looked at", func(d *Disk) { d.State, d.Ignored = Running, "its label is not valid" }, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{}
			d := stoppedDisk("pve1")
			d.GUID, d.PoolTXG, d.Guests, d.Checked = 5, 50, []int{100}, report.Checked{GUID: 5, Own: 1}
			w.managed(&d, zfs.Hourly, noon.Add(-4*time.Hour))
			w.managed(&d, zfs.Hourly, noon.Add(-3*time.Hour))
			test.change(&d)
			next, _ := d.NextChecked(test.made, false)
			assert.Equal(t, test.want, next.Own)
			assert.True(t, (test.want == 0) == next.Foreign || d.Ignored != "")
		})
	}
}

// A receive into a disk in the pool's history is a sign that the disk came from elsewhere, and snap
// remembers this sign after ZFS has overwritten the history.
func TestAnArrivalIsASign(t *testing.T) {
	w := &world{}
	d := stoppedDisk("stopped")
	d.GUID, d.PoolTXG, d.Checked = 5, 50, report.Checked{GUID: 5, Own: 1}
	w.managed(&d, zfs.Stopped, noon)
	w.managed(&d, zfs.Hourly, noon.Add(time.Hour))
	d.History = arrivals(&d, 1)
	assert.Contains(t, d.CameFrom(""), "was received here")
	d.State = Elsewhere
	next, _ := d.NextChecked(0, false)
	assert.True(t, next.Elsewhere)
}

// A guest that was started from a copy on this node gets a snapshot in the first run, even if the
// received label of its disk already has this node's name.
func TestStartedOnACopyOfThisNodesName(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon}
	d := runningDisk(disk0, words("h24"))
	d.GUID, d.PoolTXG = 5, 50
	w.managed(&d, zfs.Hourly, noon.Add(-time.Minute))
	d.Creation = noon
	assert.Equal(t, []string{disk0 + " hourly label=pve1"}, stepsOf(MakePlan([]Disk{d}, w.policy, noon)))
	d.Checked = report.Checked{GUID: 5, Own: 1}
	assert.Empty(t, stepsOf(MakePlan([]Disk{d}, w.policy, noon)), "it ran here before")
}
