package exporter

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/remote"
	"snapwatch/internal/zfs"
)

// owner is a node that gives a prescribed answer and counts the requests.
type owner struct {
	asked  atomic.Int32
	answer atomic.Pointer[func(checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer)]
}

func (o *owner) says(answer func(checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer)) {
	o.answer.Store(&answer)
}

func (o *owner) ask(ctx context.Context, _ time.Duration, r checker.Report) (map[string][]checker.Evidence, []checker.NodeAnswer) {
	o.asked.Add(1)
	answer := o.answer.Load()
	if answer == nil {
		<-ctx.Done()
		return nil, []checker.NodeAnswer{{Node: "pve1", Failure: "no answer in time"}}
	}
	said, node := (*answer)(r)
	return said, []checker.NodeAnswer{node}
}

// alive returns the answer of an owner that has the guests 101 and 300. Guest 101 has been alive
// since the given time, although its newest snapshot is a _stopped snapshot.
func alive(since time.Time) func(checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer) {
	return func(r checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer) {
		said := map[string][]checker.Evidence{}
		for _, d := range r.Disks {
			e := checker.Evidence{Node: "pve1", Owned: checker.Owned, GUID: 99, Newest: d.Newest, Presence: checker.AsSnapshot, Now: r.Now}
			if d.VMID == 101 {
				e.Alive, e.AliveSince = true, since
			}
			if d.Newest != nil {
				said[d.Dataset] = append(said[d.Dataset], e)
			}
		}
		return said, checker.NodeAnswer{Node: "pve1", At: r.Now, Now: r.Now, Guests: []checker.OwnedGuest{{VMID: 300, Name: "new", Disks: []checker.OwnedDisk{{Dataset: "rpool/data/vm-300-disk-0", Created: r.Now.Add(-24 * time.Hour), Newest: r.Now}}}}}
	}
}

// asks configures the exporter to ask the given node, and to read the pools again at
// each scrape.
func asks(node *owner) func(*Settings) {
	return func(s *Settings) {
		s.Ask, s.Reuse = node.ask, 0
		s.Config.Owners.URLs = []string{"http://pve1:10191"}
	}
}

func TestTheOwnersAreAskedInTheBackground(t *testing.T) {
	node := &owner{}
	r := newRig(t, world(), asks(node))
	node.says(alive(start.Add(-7 * time.Hour)))
	r.scrape()
	r.settle(t)
	page := r.scrape()
	assert.Equal(t, int32(1), node.asked.Load(), "not more than once a minute")
	const disk = `{dataset="tank/a/subvol-101-disk-0",disk="subvol-101-disk-0",`
	assert.Equal(t, "1", line(page, "snapwatch_disk_comparison"+disk+`outcome="lagging"`))
	assert.Equal(t, "1", line(page, "snapwatch_disk_state"+disk+`pool="tank",state="stale"`), "alive is not stopped")
	assert.Equal(t, "0", line(page, "snapwatch_disk_state"+disk+`pool="tank",state="stopped"`))
	assert.Equal(t, "25200", line(page, "snapwatch_disk_lag_seconds"+disk))
	assert.Equal(t, "1", line(page, `snapwatch_absent_disks{severity="warning"}`))
	assert.Equal(t, "1", line(page, `snapwatch_guest_state{origin_cluster="east",state="incomplete",vmid="300"}`))
	assert.Equal(t, "1", line(page, `snapwatch_guest_info{id="qemu/300",name="new",origin_cluster="east",vmid="300"}`))

	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	facts, err := remote.Read(t.Context(), live.URL, time.Minute)
	require.NoError(t, err)
	from := checker.Assemble(facts.Pools, r.file.current.Load().policy, start).WithOwners(r.file.current.Load().policy, facts.Said, facts.Nodes...).WithGuests(r.file.current.Load().policy)
	asJSON := func(r checker.Report) string {
		text, err := json.Marshal(r.Document().Guests)
		require.NoError(t, err)
		return strings.ReplaceAll(string(text), "Z", "+00:00")
	}
	assert.Equal(t, asJSON(r.Report()), asJSON(from), "who asks this exporter is told the same")
	for _, d := range from.Disks {
		assert.NotEqual(t, checker.Stopped, d.Verdict)
	}

	r.clock.forward(5 * time.Minute)
	r.scrape()
	r.settle(t)
	assert.Equal(t, int32(2), node.asked.Load())
	assert.Equal(t, "25500", line(r.scrape(), "snapwatch_disk_lag_seconds"+disk))
}

// If a node no longer answers, its last answer counts for a while, and a note says so. When the
// last answer of a node is too old, the state of the node's guests is unknown.
func TestAnOwnerThatDoesNotAnswer(t *testing.T) {
	node := &owner{}
	r := newRig(t, world(), asks(node))
	node.says(alive(start.Add(-time.Minute)))
	r.scrape()
	r.settle(t)
	node.says(refuses)
	r.clock.forward(2 * time.Minute)
	r.scrape()
	r.settle(t)
	page := r.scrape()
	assert.Equal(t, "0", line(page, `snapwatch_owner_answers{node="pve1"}`))
	const inSync = `snapwatch_disk_comparison{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",outcome="in sync"`
	assert.Equal(t, "1", line(page, inSync))
	notes := ""
	for _, n := range r.Report().Notes {
		notes += n.Text
	}
	assert.Contains(t, notes, "pve1 does not answer (refused): its answer of 2m ago counts for now")
	r.clock.forward(time.Hour)
	page = r.scrape()
	assert.Equal(t, "0", line(page, inSync))
	r.settle(t)
	assert.Equal(t, "1", line(r.scrape(), `snapwatch_disk_comparison{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",outcome="owner unreachable"`))
}

// If an owner's last answer raised an alarm, this answer counts until the owner answers again: an
// owner that is down or refuses the password must not end an alarm.
func TestAnOwnerThatIsSilentSilencesNothing(t *testing.T) {
	const disk = `{dataset="tank/a/subvol-101-disk-0",disk="subvol-101-disk-0",`
	for name, since := range map[string]time.Duration{"long behind": 7 * time.Hour, "just started": time.Minute} {
		t.Run(name, func(t *testing.T) {
			node := &owner{}
			r := newRig(t, world(), asks(node))
			node.says(alive(start.Add(-since)))
			r.scrape()
			r.settle(t)
			node.says(refuses)
			for _, after := range []time.Duration{15 * time.Minute, 6 * time.Hour, 48 * time.Hour} {
				r.clock.forward(after)
				r.scrape()
				r.settle(t)
				page := r.scrape()
				assert.Equal(t, "1", line(page, "snapwatch_disk_state"+disk+`pool="tank",state="stale"`), after)
				assert.Equal(t, "1", line(page, `snapwatch_absent_disks{severity="warning"}`))
				assert.Equal(t, "1", line(page, `snapwatch_guest_state{origin_cluster="east",state="incomplete",vmid="300"}`))
				assert.Equal(t, "1", line(page, `snapwatch_disk_comparison{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",outcome="owner unreachable"`), "what it said that is well does not stand")
			}
			assert.Equal(t, "1", line(r.scrape(), "snapwatch_disk_comparison"+disk+`outcome="lagging"`), "its guest lives for longer than a limit by now")
			for _, d := range r.Report().Disks {
				if d.VMID == 101 {
					assert.Equal(t, checker.Critical, d.State)
					assert.Contains(t, d.Reason, "pve1 does not answer (refused)")
				}
			}
		})
	}
}

// refuses returns the answer of a node that refuses the request.
func refuses(r checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer) {
	said := map[string][]checker.Evidence{}
	for _, d := range r.Disks {
		said[d.Dataset] = []checker.Evidence{{Node: "pve1", Failure: "refused"}}
	}
	return said, checker.NodeAnswer{Node: "pve1", Failure: "refused"}
}

// The number of absent disks is unknown until an owner has answered.
func TestWhatIsAbsentIsNotKnownWithoutAnAnswer(t *testing.T) {
	node := &owner{}
	r := newRig(t, world(), asks(node))
	node.says(refuses)
	r.scrape()
	r.settle(t)
	page := r.scrape()
	assert.NotContains(t, page, "snapwatch_absent_disks")
	assert.Equal(t, "0", line(page, `snapwatch_owner_answers{node="pve1"}`))
}

// An owner that hangs delays no scrape. The exporter never has more than one unfinished request to
// this owner.
func TestAnOwnerThatHangs(t *testing.T) {
	node := &owner{}
	release := make(chan struct{})
	node.says(func(r checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer) {
		<-release
		return nil, checker.NodeAnswer{Node: "pve1", Failure: "no answer in time"}
	})
	r := newRig(t, world(), asks(node))
	for range 3 {
		assert.Contains(t, r.scrape(), "snapwatch_disk_state{")
		r.clock.forward(2 * time.Minute)
	}
	assert.Equal(t, int32(1), node.asked.Load())
	close(release)
	r.settle(t)
}

// A disk that an owner no longer has is reported for a day, also after a restart of the exporter,
// and also by a check that reads this exporter.
func TestWhatAnOwnerHadIsTold(t *testing.T) {
	node := &owner{}
	node.says(alive(start.Add(-time.Minute)))
	r := newRig(t, world(), asks(node))
	r.scrape()
	r.settle(t)
	node.says(func(report checker.Report) (map[string][]checker.Evidence, checker.NodeAnswer) {
		said, n := alive(start.Add(-time.Minute))(report)
		n.Guests = nil
		return said, n
	})
	r.clock.forward(2 * time.Minute)
	r.scrape()
	r.settle(t)
	r.restart(asks(node))
	r.clock.forward(20 * time.Minute)
	r.scrape()
	r.settle(t)
	const told = "rpool/data/vm-300-disk-0 of guest 300 (new) on pve1"
	assert.Contains(t, get(server().Handler(r.Store), "/api/v1/disks").Body.String(), told)
	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	facts, err := remote.Read(t.Context(), live.URL, time.Minute)
	require.NoError(t, err)
	require.Len(t, facts.Nodes, 1)
	assert.Equal(t, []checker.Former{{VMID: 300, Guest: "new", Dataset: "rpool/data/vm-300-disk-0", Since: start.Add(2 * time.Minute)}}, facts.Nodes[0].Former)
}

// If the configuration names no owners, the exporter asks no node, and earlier answers of owners do
// not count.
func TestNobodyIsAskedWhereNoneIsNamed(t *testing.T) {
	node := &owner{}
	node.says(alive(start))
	r := newRig(t, world(), func(s *Settings) { s.Ask = node.ask; s.Reuse = 0 })
	for range 3 {
		r.scrape()
		r.settle(t)
		r.clock.forward(2 * time.Minute)
	}
	assert.Zero(t, node.asked.Load())
	assert.Empty(t, r.Report().Nodes)
}

// If a replica has received a newer snapshot since the exporter asked the owner, the owner's answer
// does not make the replica lag.
func TestAnAnswerIsAboutWhatWasAsked(t *testing.T) {
	a := asking{}
	newest := &zfs.Snapshot{Name: "autosnap_2026-03-29_11:00:00_hourly", GUID: 5}
	r := checker.Report{Disks: []checker.Result{{Disk: checker.Disk{Dataset: "tank/vm-1-disk-0", Newest: newest}}}}
	a.learn(r, map[string][]checker.Evidence{"tank/vm-1-disk-0": {{Node: "pve1"}}}, []checker.NodeAnswer{{Node: "pve1", At: start, Now: start}})
	said, nodes := a.answers(start.Add(time.Minute), time.Hour)
	assert.Equal(t, newest, said["tank/vm-1-disk-0"][0].About)
	assert.Equal(t, start.Add(time.Minute), nodes[0].Now)
}

// An answer that arrived while this host's clock was ahead has a time in the future. An answer with
// a time in the future counts as too old.
func TestAnAnswerFromTheFutureIsTooOld(t *testing.T) {
	for ahead, tooOld := range map[time.Duration]bool{0: false, time.Minute: false, time.Hour: true, 365 * 24 * time.Hour: true} {
		a := asking{}
		r := checker.Report{Disks: []checker.Result{{Disk: checker.Disk{Dataset: "tank/vm-1-disk-0"}}}}
		a.learn(r, map[string][]checker.Evidence{"tank/vm-1-disk-0": {{Node: "pve1", Excluded: "label:nosnap"}}}, []checker.NodeAnswer{{Node: "pve1", At: start.Add(ahead), Now: start}})
		a.learn(r, nil, []checker.NodeAnswer{{Node: "pve1", Failure: "refused"}})
		said, _ := a.answers(start, 10*time.Minute)
		assert.Equal(t, tooOld, said["tank/vm-1-disk-0"][0].Failure == "refused", ahead)
	}
}
