package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A guest whose disks are on two pools, of which one answers late, is frozen twice in a run. A
// fault that only one of both rounds had must be in the entry: else the next run takes it for a
// new one and tells it again.
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
