package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/drill"
)

// check and the exporter read the records of drills as package drill writes them.
func TestProofsAreReadAsWritten(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	assert.Equal(t, "drills.json", checker.ProofsName)
	at := time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC)
	good := checker.Drill{Point: "2026-07-15_12:00:00", At: at, Reach: drill.Booted, Seconds: 1.5, Remarks: []string{"Debian"}}
	failed := checker.Drill{Point: "2026-07-15_12:00:00", At: at.Add(time.Hour), Reach: drill.Cloned, Seconds: 2, FileSystems: 2, Part: &checker.Part{To: 0.5}, Faults: []checker.Fault{{Kind: checker.FaultFiles, Wrong: "fsck"}}}
	locked := checker.Drill{At: at.Add(2 * time.Hour), Reach: drill.Nothing, Remarks: []string{"encrypted"}}
	var records drill.Records
	for _, p := range []checker.Drill{good, failed, locked} {
		records = records.With(drill.Guest{Cluster: "east", VMID: 100}, p)
	}
	text, err := checker.FormatProofs(records)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), checker.ProofsName)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	read := scan.LoadProofs(path)
	require.Empty(t, read.Problem)
	want, err := json.Marshal(records)
	require.NoError(t, err)
	got, err := json.Marshal(read.Guests)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
}
