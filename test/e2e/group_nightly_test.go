//go:build e2e && nightly

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// slowAgents is a script in place of pvesh that delays each answer of a guest agent by two seconds.
const slowAgents = "#!/bin/sh\ncase $2 in */agent/*) sleep 2 ;; esac\nexec /usr/bin/pvesh \"$@\"\n"

// TestGroupOfTwelve: either snap freezes the 12 guests of a group together within max_freeze, or
// snap freezes none of them. Only the first run reports that snap froze none of the guests. All 12
// guests get their snapshots, whether the group is frozen or not.
func TestGroupOfTwelve(t *testing.T) {
	w := newWorld(t)
	w.boxes(201, 212)
	w.holdGroup(201, 212)
	for vmid := 202; vmid <= 212; vmid++ {
		assert.Equal(t, w.txg("ta/data/subvol-201-disk-0"), w.txg(fmt.Sprintf("ta/data/subvol-%d-disk-0", vmid)), "one transaction group")
	}
	for vmid := 101; vmid <= 112; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
		w.start(w.a, vmid)
		require.NoError(t, w.a.PlayAgent(vmid))
	}
	for _, test := range []struct {
		limit string
		slow  bool
		maybe []int // allowed numbers of frozen guests
		said  []int // allowed numbers of reports that the group is not frozen
	}{
		{"2s", false, []int{0, 12}, []int{0, 1}},
		{"1m", false, []int{12}, []int{0}},
		{"1m", true, []int{0}, []int{1}},
		{"1m", true, []int{0}, []int{0}},
	} {
		w.configure(quick + "max_freeze: " + test.limit + "\ngroups: [{name: shop, vmid: '101-112', quiesce: agent}]\n")
		if test.slow {
			require.NoError(t, w.a.Install("pvesh", slowAgents))
		}
		had := len(w.snapshots("ta/data/vm-101-disk-0"))
		log, err := w.a.AgentLog()
		require.NoError(t, err)
		r := w.run(w.a, "snap", "f9")
		w.nobodyThaws()
		more, err := w.a.AgentLog()
		require.NoError(t, err)
		n := 0
		for vmid, q := range w.quiesced() {
			if vmid < 200 && q.Consistent == report.Application {
				n++
			}
		}
		assert.Contains(t, test.maybe, n, "%+v", test)
		assert.Contains(t, test.said, strings.Count(r.Stderr, "only crash-consistent"), "%+v", test)
		// All guests of the group are frozen before the first of them is thawed.
		together, _, _ := strings.Cut(strings.TrimPrefix(more, log), "thawed")
		assert.Equal(t, n, strings.Count(together, "frozen"), "%+v", test)
		assert.Equal(t, strings.Count(more, "frozen"), strings.Count(more, "thawed"))
		for vmid := 101; vmid <= 112; vmid++ {
			disk := fmt.Sprintf("ta/data/vm-%d-disk-0", vmid)
			assert.Len(t, w.snapshots(disk), had+1, "%+v", test)
			assert.Equal(t, w.txg("ta/data/vm-101-disk-0"), w.txg(disk), "one transaction group")
		}
	}
}
