//go:build e2e && soak

package e2e

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

var (
	randomSteps = flag.Int("steps", 40, "how many random steps TestRandomSteps takes")
	randomSeed  = flag.Uint64("seed", 2026, "what they are drawn from")
)

// The settings of the random steps. Bookmarks are what C lives on when it was cut off; the
// way back from a node that took over needs a snapshot that both nodes still have, so the
// lag between them is shorter than what the retention keeps. The copies keep next to
// nothing.
const (
	mostAway    = 8 * 24 * time.Hour
	mostLag     = 20 * time.Hour
	randomKeep  = "f2 d3"
	copyKeep    = "f1 d0"
	randomMarks = "bookmarks: 10\n"
)

// random is a guest's disk on three sites, and what was done to it.
type random struct {
	*world
	draw *rand.Rand
	// owner has the guest, other is the node it may move to.
	owner, other *site.Site
	running, cut bool
	// seen is when C, and the other node, last received.
	seenByC, seenByOther time.Time
}

func (r *random) disk(s *site.Site) string {
	if s == r.c {
		return "tc/vm-100-disk-0"
	}
	return s.Pool + "/data/vm-100-disk-0"
}

// TestRandomSteps: whatever happens to the guest, its nodes and the link to C, in any
// order, no next run of syncoid needs a full send, and all copies hold the same bytes,
// as long as C was away for fewer days than there are bookmarks.
func TestRandomSteps(t *testing.T) {
	w := newWorld(t)
	t.Logf("-steps %d -seed %d", *randomSteps, *randomSeed)
	r := &random{world: w, draw: rand.New(rand.NewPCG(*randomSeed, 0)), owner: w.a, other: w.b, running: true}
	w.ownPools(randomMarks)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\nrole: replica\n"))
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.tomorrow()
	r.fill(r.disk(r.owner), 200)
	r.work()
	r.toOther()
	r.toC()
	steps := []func(){
		r.run, r.run, r.run, r.run, r.run, r.run, r.stopOrStart, r.cutOff, r.reconnect, r.sync, r.sync, r.pruneCopies, r.failover,
	}
	for i := range *randomSteps {
		steps[r.draw.IntN(len(steps))]()
		t.Logf("step %d: %s", i+1, r.state())
	}
	r.cut = false
	r.sync()
}

func (r *random) state() string {
	words := []string{time.Now().Format(time.DateTime), "guest on " + r.owner.Name}
	if !r.running {
		words = append(words, "stopped")
	}
	if r.cut {
		words = append(words, "C cut off")
	}
	return strings.Join(words, ", ")
}

// work is a run of snap on the guest's node. The other node's follows what it receives.
func (r *random) work() { r.snap(r.owner, strings.Fields(randomKeep)...) }

// run lets time pass, and the guest write. What may not be away for longer is brought up
// to date before that.
func (r *random) run() {
	r.later(time.Duration(1+r.draw.IntN(14)) * time.Hour)
	if r.running {
		r.fill(r.disk(r.owner), 20+r.draw.IntN(60))
	}
	r.work()
	if time.Since(r.seenByOther) > mostLag {
		r.toOther()
	}
	if time.Since(r.seenByC) > mostAway {
		r.cut = false
		r.toC()
	}
}

func (r *random) stopOrStart() {
	if r.running {
		r.stop(r.owner, 100)
	} else {
		r.start(r.owner, 100)
	}
	r.running = !r.running
	r.work()
}

func (r *random) cutOff() { r.cut = true }

func (r *random) reconnect() { r.cut = r.draw.IntN(4) > 0 }

// sync brings the copies up to date, C from the owner or from the other node.
func (r *random) sync() {
	r.toOther()
	if !r.cut {
		r.toC()
	}
}

// toOther replicates to the other node, which then makes its bookmarks.
func (r *random) toOther() {
	r.increment(r.owner, r.other)
	r.snap(r.other, strings.Fields(randomKeep)...)
	r.seenByOther = time.Now()
}

func (r *random) toC() {
	from := r.owner
	if r.draw.IntN(2) == 0 {
		from = r.other
	}
	r.increment(from, r.c)
	if from == r.owner || r.seenByOther.After(r.seenByC) {
		r.seenByC = time.Now()
	}
}

// increment replicates, and asserts that it was no full send where there is a copy, and
// that the copy is one.
func (r *random) increment(from, to *site.Site) {
	first := len(r.snapshotsIfAny(r.disk(to))) == 0
	said, _ := r.sent(r.disk(from), r.disk(to))
	if !first {
		require.NotContains(r.t, said, "full")
	}
	r.same(r.disk(from), r.disk(to))
}

func (r *random) snapshotsIfAny(dataset string) []site.Snapshot {
	list, err := site.Snapshots(r.ctx, dataset)
	if err != nil {
		return nil
	}
	return list
}

func (r *random) pruneCopies() {
	for _, s := range []*site.Site{r.other, r.c} {
		result := r.world.run(s, append([]string{"prune"}, strings.Fields(copyKeep)...)...)
		require.Zero(r.t, result.Code, result.Stderr)
	}
}

// failover gives the guest to the other node, as it is there; what it had not received
// is lost. It fails back the next time.
func (r *random) failover() {
	if r.running {
		require.NoError(r.t, r.owner.KillGuest(100))
	}
	require.NoError(r.t, r.owner.MoveGuestTo(100, r.other))
	r.owner, r.other = r.other, r.owner
	r.start(r.owner, 100)
	r.running = true
	r.fill(r.disk(r.owner), 20)
	r.work()
}
