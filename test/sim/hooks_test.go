package sim

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Run after run is killed before one of its changes, while hooks are running. The next run starts
// no second hook for a guest while an old hook of the guest is running. In the end, each due hook
// runs.
func TestHooksOfKilledRuns(t *testing.T) {
	hooks := 0
	for order := range uint64(30) {
		s := plain()
		s.Hooks, s.Order = []string{"guest", "run"}[order%2], order
		var steps []Step
		for tick := 4; tick < 200; tick += 7 {
			step := Step{Tick: tick, Kind: "kill hook", N: tick}
			if tick%2 == 0 {
				step = Step{Tick: tick, Kind: "kill", N: tick}
			}
			steps = append(steps, step, Step{Tick: tick, Kind: []string{"stop", "start", "crash"}[tick%3], Guest: tick % 2}, Step{Tick: tick + 1 + int(order)%3, Kind: "start", Guest: tick % 2})
		}
		w := NewWorld(s)
		w.Play(220, steps)
		assert.Empty(t, w.Fail, "%s", w.Story())
		for i := range w.nodes {
			assert.Empty(t, w.nodes[i].hooks.notes, fmt.Sprint(order))
		}
		hooks += w.stats.Hooks
	}
	assert.Greater(t, hooks, 1000)
}
