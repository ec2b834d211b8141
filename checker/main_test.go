package checker

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { zfstest.Main(m) }

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// now is the time of all tests.
var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// managed is a snapshot of a class and age.
func managed(class zfs.Class, age time.Duration) *zfs.Snapshot {
	return &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(age), class), GUID: 7, CreateTXG: 9, Creation: ago(age)}
}
