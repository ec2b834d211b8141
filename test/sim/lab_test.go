package sim

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The weeks that are made for a lab keep their promises in the model, and do what they
// are there for.
func TestLabWeeks(t *testing.T) {
	happened := map[string]bool{}
	var sum Stats
	for seed := range uint64(200) {
		setup, plan := LabWeek(seed, 40)
		w := NewWorld(setup)
		w.PlayIn(nowhere{}, 40, plan)
		assert.Empty(t, w.Fail, "seed %d: %s", seed, w.Story())
		for _, s := range plan {
			happened[s.Kind] = true
		}
		sum.add(w.stats)
	}
	for _, kind := range append([]string{"reuse"}, labKinds...) {
		assert.True(t, happened[kind], kind)
	}
	t.Logf("%+v", sum)
	assert.Greater(t, sum.Stops, 500)
	assert.Greater(t, sum.Based, 1000)
}
