package snapper

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

const (
	disk0 = "tank/data/vm-100-disk-0"
	disk1 = "tank/data/vm-100-disk-1"
)

// stoppedDisk returns a disk, with the label, of a guest that is proven to have stopped.
func stoppedDisk(label string) Disk {
	d := runningDisk(disk0, words("f48"))
	d.State, d.Why = Stopped, "stopped"
	d.Running = zfs.Property{Value: label, Source: zfs.SourceLocal}
	if label == "" {
		d.Running = zfs.Property{}
	}
	return d
}

// Some actions in the table of actions have conditions in addition to the guest's state and the
// disk's label.
func TestConditionalActions(t *testing.T) {
	finished := []string{disk0 + " stopped label=stopped"}
	labelled := []string{disk0 + " label=stopped"}
	periodic := func(w *world, d *Disk) { w.managed(d, zfs.Hourly, noon.Add(-3*time.Hour)) }
	last := func(w *world, d *Disk) { w.managed(d, zfs.Stopped, noon.Add(-2*time.Hour)) }
	foreign := func(w *world, d *Disk) { w.snap(d, "syncoid_c_2026-07-15", noon.Add(-time.Hour)) }
	received := zfs.Property{Value: "off", Received: "off", Source: zfs.SourceReceived}

	for _, test := range []struct {
		name   string
		label  string
		change func(*world, *Disk)
		want   []string
		why    string // the reason in the note if the plan has no step for the disk
	}{
		{"final", "pve1", periodic, finished, ""},
		{"final, written after the last periodic one", "pve1", func(w *world, d *Disk) { periodic(w, d); d.Written = 4096 }, finished, ""},
		{"final, disk without any snapshot", "pve1", func(*world, *Disk) {}, finished, ""},
		{"final, cut off between snapshot and label", "pve1", func(w *world, d *Disk) { periodic(w, d); last(w, d) }, labelled, ""},
		{"final, cut off, and a foreign one is newer", "pve1", func(w *world, d *Disk) { last(w, d); foreign(w, d) }, labelled, ""},
		{"final, cut off, and it ran again since", "pve1", func(w *world, d *Disk) { last(w, d); d.Written = 1 }, finished, ""},
		{"final, a periodic one after the _stopped one", "pve1", func(w *world, d *Disk) { last(w, d); w.managed(d, zfs.Frequently, noon.Add(-time.Hour)) }, finished, ""},
		{"final, on a dataset being received", "pve1", func(_ *world, d *Disk) { d.Inconsistent = true }, nil, "a receive is not finished"},
		{"final, on a dataset with a resume token", "pve1", func(_ *world, d *Disk) { d.ResumeToken = true }, nil, "a receive is not finished"},

		{"stopped already", "stopped", last, nil, "and not written to since"},
		{"stopped already, foreign one newer", "stopped", func(w *world, d *Disk) { last(w, d); foreign(w, d) }, nil, "and not written to since"},
		{"ran between two runs", "stopped", func(w *world, d *Disk) { last(w, d); d.Written = 4096 }, finished, ""},
		{"ran between two runs, foreign one newer", "stopped", func(w *world, d *Disk) { last(w, d); foreign(w, d); d.WrittenSinceStopped = 4096 }, finished, ""},
		{"written only to what a foreign one has: not looked at", "stopped", func(w *world, d *Disk) { last(w, d); foreign(w, d); d.Written = 4096 }, nil, "and not written to since"},
		{"stopped by pve-zfs-snap, whose snapshot failed", "stopped", periodic, finished, ""},
		{"a replica beside a copied configuration", "stopped", func(w *world, d *Disk) {
			periodic(w, d)
			d.Running.Received, d.Running.Source = "stopped", zfs.SourceReceived
		}, nil, "its received label is also"},
		{"being received", "stopped", func(w *world, d *Disk) { last(w, d); d.Written, d.ResumeToken = 4096, true }, nil, "a receive is not finished"},

		{"never labelled, no history", "", func(*world, *Disk) {}, finished, ""},
		{"never labelled, only foreign history", "", foreign, nil, "is not in the guest's configuration"},
		{"never labelled, only qm's snapshots", "", func(w *world, d *Disk) { foreign(w, d); d.Named = []string{d.Snapshots[0].Name} }, finished, ""},
		{"never labelled, qm's snapshots, once a copy", "", func(w *world, d *Disk) {
			foreign(w, d)
			d.Named, d.Sign = []string{d.Snapshots[0].Name}, "it has received properties"
		}, nil, "it has received properties"},
		{"never labelled, a snapshot older than the dataset", "", func(w *world, d *Disk) {
			foreign(w, d)
			d.Named, d.Creation = []string{d.Snapshots[0].Name}, noon
		}, nil, "is older than the dataset"},
		{"never labelled, only foreign history, named by its dataset", "", func(w *world, d *Disk) { foreign(w, d); w.policy.Adopt = []string{disk0} }, finished, ""},
		{"never labelled, only foreign history, another is named", "", func(w *world, d *Disk) { foreign(w, d); w.policy.Adopt = []string{"101"} }, nil, "--adopt 100"},
		{"never labelled, managed history", "", periodic, nil, "snap --adopt 100"},
		{"never labelled, managed history, --adopt", "", func(w *world, d *Disk) { periodic(w, d); w.policy.Adopt = []string{"100"} }, finished, ""},
		{"never labelled, _stopped already, --adopt", "", func(w *world, d *Disk) { last(w, d); w.policy.Adopt = []string{"100"} }, labelled, ""},
		{"label inherited from the parent", "", func(w *world, d *Disk) {
			periodic(w, d)
			d.Running = zfs.Property{Value: "pve1", Source: zfs.SourceInherited}
		}, nil, "snap --adopt 100"},
		{"never labelled here, a value was received", "", func(w *world, d *Disk) { d.Running.Received = "pve2" }, nil, "received properties"},
		{"never labelled here, a value was received, named", "", func(w *world, d *Disk) { d.Running.Received = "pve2"; w.policy.Adopt = []string{"100"} }, finished, ""},
		{"never labelled, nosnap was received", "", func(w *world, d *Disk) { d.NoSnap = received }, nil, "received properties"},
		{"this node's name was received", "pve1", func(w *world, d *Disk) { periodic(w, d); d.Running.Source = zfs.SourceReceived }, nil, "adopt_peer_labels is off"},
		{"never labelled, being received", "", func(w *world, d *Disk) { d.Inconsistent = true; w.policy.Adopt = []string{"100"} }, nil, "a receive is not finished"},
		{"never labelled, resume token", "", func(w *world, d *Disk) { d.ResumeToken = true; w.policy.Adopt = []string{"100"} }, nil, "a receive is not finished"},

		{"a peer's label", "pve2", periodic, nil, "adopt_peer_labels is off"},
		{"a peer's label, taken over", "pve2", func(w *world, d *Disk) { periodic(w, d); w.policy.AdoptPeerLabels = true }, finished, ""},
		{"another cluster's label", "node9", func(w *world, d *Disk) {
			periodic(w, d)
			w.policy.AdoptPeerLabels, w.policy.Adopt = true, []string{"100"}
		}, nil, "stopped"},

		{"renewed", "stopped", func(w *world, d *Disk) { last(w, d); w.policy.RefreshStopped = 2 * time.Hour }, finished, ""},
		{"renewed, since it is from the future", "stopped", func(w *world, d *Disk) {
			w.managed(d, zfs.Stopped, noon.AddDate(1, 0, 0))
			w.policy.RefreshStopped = 3 * time.Hour
		}, finished, ""},
		{"from the future, not to be renewed", "stopped", func(w *world, d *Disk) { w.managed(d, zfs.Stopped, noon.AddDate(1, 0, 0)) }, nil, "and not written to since"},
		{"not old enough to be renewed", "stopped", func(w *world, d *Disk) { last(w, d); w.policy.RefreshStopped = 3 * time.Hour }, nil, "and not written to since"},

		{"nosnap, final", "pve1", func(w *world, d *Disk) { periodic(w, d); d.NoSnap.Value = "on" }, labelled, ""},
		{"nosnap, labelled already", "stopped", func(w *world, d *Disk) { periodic(w, d); d.NoSnap.Value = "on" }, nil, "label:nosnap is on"},
		{"nosnap, labelled already, no snapshot at all", "stopped", func(_ *world, d *Disk) { d.NoSnap.Value = "on" }, nil, "label:nosnap is on"},
		{"nosnap, labelled already, written", "stopped", func(w *world, d *Disk) { last(w, d); d.Written, d.NoSnap.Value = 1, "on" }, nil, "label:nosnap is on"},

		{"ignored by the configuration", "pve1", func(_ *world, d *Disk) { d.Ignored = "ignored by the configuration (vmid 100)" }, nil, "ignored by the configuration"},
		{"listed as a replica", "pve1", func(_ *world, d *Disk) { d.State, d.Why = Replica, "listed under replicas" }, nil, "listed under replicas"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := stoppedDisk(test.label)
			w := &world{policy: testPolicy(), now: noon}
			test.change(w, &d)
			w.disks = []Disk{d}
			plan := w.run()
			assert.Equal(t, test.want, stepsOf(plan))
			assert.Empty(t, plan.Destroys)
			require.Len(t, plan.Notes, 1)
			assert.Contains(t, plan.Notes[0].Reason, test.why)
			for _, g := range plan.Guests {
				assert.True(t, g.RefuseReceiving, "a dataset that is being received must be refused")
			}
			if w.policy.RefreshStopped == 0 {
				assert.Empty(t, stepsOf(w.run()), "a second run has nothing to do")
			}
		})
	}
}

// In the first run after a guest's start, each of its disks gets this node's label and a snapshot,
// whatever label the disk had before.
func TestStart(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*world, *Disk)
		want   []string
	}{
		{"never labelled", func(_ *world, d *Disk) { d.Running = zfs.Property{} }, []string{disk0 + " hourly label=pve1"}},
		{"stopped before", func(_ *world, d *Disk) { d.Running.Value = "stopped" }, []string{disk0 + " hourly label=pve1"}},
		{"another cluster's", func(_ *world, d *Disk) { d.Running.Value = "node9" }, []string{disk0 + " hourly label=pve1"}},
		{"own by received value", func(_ *world, d *Disk) { d.Running.Source = zfs.SourceReceived }, []string{disk0 + " hourly label=pve1"}},
		{"nothing due, but started", func(w *world, d *Disk) {
			d.Running.Value = "stopped"
			w.managed(d, zfs.Hourly, noon.Add(-time.Minute))
		}, []string{disk0 + " hourly label=pve1"}},
		{"nothing due", func(w *world, d *Disk) { w.managed(d, zfs.Hourly, noon.Add(-time.Minute)) }, nil},
		{"nosnap", func(_ *world, d *Disk) { d.Running.Value, d.NoSnap.Value = "stopped", "yes" }, []string{disk0 + " label=pve1"}},
		{"nosnap, labelled", func(_ *world, d *Disk) { d.NoSnap.Value = "yes" }, nil},
		{"nothing is kept", func(_ *world, d *Disk) { d.Running.Value, d.Retention = "stopped", words("h0") }, []string{disk0 + " label=pve1"}},
		{"locked", func(_ *world, d *Disk) { d.State, d.Running.Value = LockedAlive, "stopped" }, nil},
		{"locked, labelled", func(_ *world, d *Disk) { d.State = LockedAlive }, []string{disk0 + " hourly"}},
		{"Proxmox not answering, labelled", func(_ *world, d *Disk) { d.State = UnknownAlive }, []string{disk0 + " hourly"}},
		{"Proxmox not answering, not labelled", func(_ *world, d *Disk) { d.State, d.Running.Value = UnknownAlive, "stopped" }, nil},
		{"under backup while stopped", func(_ *world, d *Disk) { d.State = Backup }, nil},
		{"ignored", func(_ *world, d *Disk) { d.Ignored = "ignored" }, nil},
		{"replica", func(_ *world, d *Disk) { d.State = Replica }, nil},
		{"orphan", func(_ *world, d *Disk) { d.State = Orphan }, nil},
		{"disputed", func(_ *world, d *Disk) { d.State = Disputed }, nil},
		{"unknown", func(_ *world, d *Disk) { d.State = Unknown }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := runningDisk(disk0, words("h24"))
			w := &world{policy: testPolicy(), now: noon}
			test.change(w, &d)
			w.disks = []Disk{d}
			plan := w.run()
			assert.Equal(t, test.want, stepsOf(plan))
			assert.Len(t, plan.Notes, 1)
			assert.Empty(t, stepsOf(w.run()), "a second run has nothing to do")
		})
	}
}

// A node that no longer owns a guest makes only one change to the guest's disks: it replaces its
// own label by the received label, if there is one.
func TestGiveBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		label zfs.Property
		want  []string
	}{
		{"own over received", zfs.Property{Value: "pve1", Received: "pve2", Source: zfs.SourceLocal}, []string{disk0 + " give back"}},
		{"stopped over received", zfs.Property{Value: "stopped", Received: "pve2", Source: zfs.SourceLocal}, []string{disk0 + " give back"}},
		{"peer over received", zfs.Property{Value: "pve2", Received: "stopped", Source: zfs.SourceLocal}, []string{disk0 + " give back"}},
		{"own, nothing received", zfs.Property{Value: "pve1", Source: zfs.SourceLocal}, nil},
		{"stopped, nothing received", zfs.Property{Value: "stopped", Source: zfs.SourceLocal}, nil},
		{"received", zfs.Property{Value: "pve2", Received: "pve2", Source: zfs.SourceReceived}, nil},
		{"received own", zfs.Property{Value: "pve1", Received: "pve1", Source: zfs.SourceReceived}, nil},
		{"another cluster's over received", zfs.Property{Value: "node9", Received: "pve2", Source: zfs.SourceLocal}, nil},
		{"none", zfs.Property{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := runningDisk(disk0, words("f1"))
			d.State, d.Why, d.Running = Elsewhere, "guest 100 is configured on node pve2", test.label
			w := &world{policy: testPolicy(), now: noon}
			for i := range 5 {
				w.managed(&d, zfs.Frequently, noon.Add(time.Duration(i-60)*time.Hour))
			}
			w.disks = []Disk{d}
			plan := w.run()
			assert.Equal(t, test.want, stepsOf(plan))
			assert.Empty(t, plan.Destroys)
			assert.Empty(t, stepsOf(w.run()))
		})
	}
}

// TestNotes compares the severity and the result in the report for disks for which the plan has no
// step.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		state    GuestState
		label    string
		severity report.Severity
		result   Result
	}{
		{Unknown, "pve1", report.Warning, Untouched},
		{UnknownAlive, "stopped", report.Warning, Unprotected},
		{LockedAlive, "stopped", report.Info, Unprotected},
		{Orphan, "pve1", report.Notice, Untouched},
		{Disputed, "pve1", report.Notice, Untouched},
		{Busy, "pve1", report.Info, Untouched},
		{Backup, "pve1", report.Info, Untouched},
		{Replica, "pve1", report.Info, Untouched},
		{Template, "", report.Info, Untouched},
		{Stopped, "node9", report.Info, Untouched},
	} {
		d := stoppedDisk(test.label)
		d.State, d.Why = test.state, "because"
		plan := MakePlan([]Disk{d}, testPolicy(), noon)
		require.Len(t, plan.Notes, 1, test.state.String())
		assert.Equal(t, test.severity, plan.Notes[0].Severity, test.state.String())
		assert.Equal(t, test.result, plan.Notes[0].Result, test.state.String())
		assert.Contains(t, plan.Notes[0].Reason, "because", test.state.String())
	}
}

// If refresh_stopped renews a _stopped snapshot every day, the old _stopped snapshots are
// destroyed.
func TestRefreshedStoppedOnesGo(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{stoppedDisk("pve1")}}
	w.policy.RefreshStopped = 24 * time.Hour
	for range 10 * 24 * 4 {
		w.run()
		w.now = w.now.Add(15 * time.Minute)
	}
	assert.Len(t, w.disks[0].Snapshots, 3, "the newest, and those before until receivers had the time")
}

// If each disk's label fits the state of its guest, a run does not read received labels. Reading
// the received labels takes as long as reading all further properties of the disks.
func TestMaskedLabel(t *testing.T) {
	names := testPolicy().Names
	for name, c := range map[string]struct {
		state GuestState
		label zfs.Property
		want  bool
	}{
		"runs here, labelled so":             {Running, zfs.Property{Value: names.Node, Source: zfs.SourceLocal}, false},
		"stopped, labelled so":               {Stopped, zfs.Property{Value: "stopped", Source: zfs.SourceLocal}, false},
		"was never labelled, and runs":       {Running, zfs.Property{}, false},
		"a copy with what came with it":      {Elsewhere, zfs.Property{Value: names.Node, Source: zfs.SourceReceived}, false},
		"a copy without a label":             {Elsewhere, zfs.Property{}, false},
		"went elsewhere, labelled still":     {Elsewhere, zfs.Property{Value: names.Node, Source: zfs.SourceLocal}, true},
		"went elsewhere while it was off":    {Elsewhere, zfs.Property{Value: "stopped", Source: zfs.SourceLocal}, true},
		"stopped, perhaps hidden by inherit": {Stopped, zfs.Property{}, true},
		"stopped, an inherited one is none":  {Stopped, zfs.Property{Value: "x", Source: zfs.SourceInherited}, true},
	} {
		d := Disk{State: c.state}
		d.Running = c.label
		d.Name, d.ReceivedUnread = disk0, true
		var want []string
		if c.want {
			want = []string{disk0}
		}
		plan := MakePlan([]Disk{d}, testPolicy(), noon)
		assert.Equal(t, want, plan.Ask.Received, name)
		if c.want {
			assert.Empty(t, plan.Guests, name)
			assert.Empty(t, plan.InheritReceived, name)
			d.ReceivedProblem = "zfs hangs"
			plan = MakePlan([]Disk{d}, testPolicy(), noon)
			assert.True(t, plan.Ask.None(), name)
			assert.Empty(t, plan.Guests, "%s: nothing is known of its labels", name)
			assert.Equal(t, "unknown: its received label could not be read: zfs hangs", plan.Notes[0].Reason)
		}
		d.Ignored = "ignored"
		assert.Empty(t, MakePlan([]Disk{d}, testPolicy(), noon).Ask.Received, name)
	}
}
