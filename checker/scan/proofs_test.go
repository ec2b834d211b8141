package scan

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
)

func TestLoadProofs(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	path := filepath.Join(t.TempDir(), checker.ProofsName)
	assert.Equal(t, checker.Proofs{}, LoadProofs(path), "there was no drill")
	const whole = `{"version": 2, "guests": [{"cluster": "east", "vmid": 100, "later": 1,
		"last": {"point": "2026-07-15_12:00:00", "at": "2026-07-15T14:07:00+02:00", "reach": "cloned", "seconds": 1.5, "part": {"from": 0, "to": 0.5}, "faults": [{"kind": "read", "wrong": "no"}]},
		"open": [{"kind": "read", "point": "2026-07-15_12:00:00", "at": "2026-07-15T14:07:00+02:00", "wrong": ["no"], "part": {"from": 0, "to": 0.5}}], "read_to": 0.5,
		"good": {"point": "2026-07-14_12:00:00", "at": "2026-07-14T14:07:00+02:00", "reach": "checked", "seconds": 90, "read_bytes": 4096, "remarks": ["Debian"]}}]}`
	require.NoError(t, os.WriteFile(path, []byte(whole), 0o644))
	assert.Equal(t, checker.Proofs{Guests: []checker.Proof{{
		Cluster: "east", VMID: 100,
		Last:   checker.Drill{Point: "2026-07-15_12:00:00", At: time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC), Reach: "cloned", Seconds: 1.5, Part: &checker.Part{To: 0.5}, Faults: []checker.Fault{{Kind: checker.FaultRead, Wrong: "no"}}},
		Open:   []checker.OpenFault{{Kind: checker.FaultRead, Point: "2026-07-15_12:00:00", At: time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC), Wrong: []string{"no"}, Part: &checker.Part{To: 0.5}}},
		ReadTo: 0.5,
		Good:   &checker.Drill{Point: "2026-07-14_12:00:00", At: time.Date(2026, 7, 14, 12, 7, 0, 0, time.UTC), Reach: "checked", Seconds: 90, ReadBytes: 4096, Remarks: []string{"Debian"}},
	}}}, LoadProofs(path), "in UTC")

	for text, want := range map[string]string{
		"":                               "unexpected end of JSON input",
		"{}":                             "version 0 is not known, but 2 is",
		`{"version": 3, "guests": []}`:   "version 3 is not known, but 2 is",
		whole[:200]:                      "unexpected end of JSON input",
		whole + "x":                      "invalid character 'x' after top-level value",
		`{"version": 2, "guests": [{}]}`: "the record of guest 0 is incomplete",
		`{"version": 2, "guests": [{"vmid": 7, "last": {"reach": "read"}}]}`:                                                                         "the record of guest 7 is incomplete",
		`{"version": 2, "guests": [{"vmid": 7, "last": {"reach": "read", "at": "2026-07-15T12:07:00Z"}, "good": {}}]}`:                               "the record of guest 7 is incomplete",
		`{"version": 2, "guests": [{"vmid": 7, "last": {"reach": "read", "at": "2026-07-15T12:07:00Z"}, "good": {"at": "2026-07-15T12:07"}}]}`:       "cannot parse",
		`{"version": 2, "guests": [{"vmid": 7, "last": {"reach": "read", "at": "2026-07-15T12:07:00Z"}, "open": [{"kind": "read"}]}]}`:               "the record of guest 7 is incomplete",
		`{"version": 2, "guests": [{"vmid": 7, "last": {"reach": "read", "at": "2026-07-15T12:07:00Z"}, "open": [{"at": "2026-07-15T12:07:00Z"}]}]}`: "the record of guest 7 is incomplete",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		got := LoadProofs(path)
		assert.Contains(t, got.Problem, path+": ")
		assert.Contains(t, got.Problem, want, text)
		assert.Empty(t, got.Guests, "a part is not taken for the whole")
	}
	require.NoError(t, os.WriteFile(path, []byte(whole), 0o644))
	require.NoError(t, os.Chmod(path, 0o664))
	assert.Contains(t, LoadProofs(path).Problem, path+" can be written by others than its owner")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o755))
	assert.Contains(t, LoadProofs(path).Problem, "is not a regular file")
}
