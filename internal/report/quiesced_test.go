package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A guest whose disks are on two pools is frozen twice in a run if one of the pools answers late.
// The guest's entry in the report must have the faults of the first freeze and the faults of the
// second freeze. If a fault were missing in the entry, the next run would treat this fault as new,
// and would report it a second time.
func TestAddQuiescedKeepsTheFaultsOfBothRounds(t *testing.T) {
	for name, c := range map[string]struct {
		first, second Quiesced
		want          Quiesced
	}{
		"the second has another": {
			Quiesced{VMID: 100, Consistent: Crash, Faults: []string{"freeze"}, Seconds: 1},
			Quiesced{VMID: 100, Consistent: Crash, Faults: []string{"agent"}, Seconds: 2},
			Quiesced{VMID: 100, Consistent: Crash, Faults: []string{"agent", "freeze"}, Seconds: 2},
		},
		"only the second has one": {
			Quiesced{VMID: 100, Consistent: Torn, Reason: "a disk failed", Seconds: 1},
			Quiesced{VMID: 100, Consistent: Application, Faults: []string{"thaw"}},
			Quiesced{VMID: 100, Consistent: Torn, Reason: "a disk failed", Faults: []string{"thaw"}, Seconds: 1},
		},
		"both have the same": {
			Quiesced{VMID: 100, Consistent: Application, Faults: []string{"thaw"}},
			Quiesced{VMID: 100, Consistent: Crash, Faults: []string{"thaw"}},
			Quiesced{VMID: 100, Consistent: Crash, Faults: []string{"thaw"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r Run
			r.AddQuiesced(c.first)
			r.AddQuiesced(c.second)
			assert.Equal(t, []Quiesced{c.want}, r.Quiesced)
		})
	}
}
