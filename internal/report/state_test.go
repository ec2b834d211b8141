package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If state.json is unusable, LoadState returns an empty state and the reason. With an empty state,
// a run must look at more disks than with the state of the last run.
func TestState(t *testing.T) {
	dir := t.TempDir()
	s, err := LoadState(dir)
	require.NoError(t, err)
	s.Checked = map[string]Checked{"tank/vm-1-disk-0": {GUID: 1 << 63, TXG: 7, Unproven: []Unproven{{Name: "x", GUID: 1, Reason: "why"}}}}
	require.NoError(t, s.Save(dir))
	again, err := LoadState(dir)
	require.NoError(t, err)
	assert.Equal(t, s, again)
	info, err := os.Stat(filepath.Join(dir, StateName))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	for _, text := range []string{"", `{"version":1,"checked":{"x":{"guid":-1}}}`, `{"version":2}`, `{}`, `null`, `[]`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, StateName), []byte(text), 0o600))
		s, err := LoadState(dir)
		assert.Error(t, err, text)
		assert.Equal(t, State{Version: stateVersion}, s, text)
	}
}

// CheckedOf finds the record of a disk by the disk's guid. A renamed disk keeps its record. A new
// disk with the old name does not get the record of the renamed disk.
func TestCheckedOf(t *testing.T) {
	s := State{Checked: map[string]Checked{"tank/a": {GUID: 1, Own: 5}, "tank/b": {GUID: 2, Own: 6}, "half/a": {GUID: 1, Own: 7}}}
	for _, test := range []struct {
		dataset string
		guid    uint64
		own     uint64
	}{
		{"tank/a", 1, 5}, {"half/a", 1, 7}, {"tank/c", 2, 6}, {"new/b", 2, 6}, {"tank/a", 2, 6}, {"tank/a", 3, 0},
	} {
		assert.Equal(t, test.own, s.CheckedOf(test.dataset, test.guid).Own, "%s %d", test.dataset, test.guid)
	}
}
