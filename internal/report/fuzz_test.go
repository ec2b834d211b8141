package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReport checks that any text, such as a truncated or edited report of a run, is either refused
// or read as a report. No text may cause a panic.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"node":"pve1","start":"2026-07-15T12:00:00Z","end":"2026-07-15T12:00:01Z","success":true,"counts":{"snapshot":1}}`))
	f.Add([]byte(`{"pools":[{"pool":"tank","error":"x"}],"disks":null,"problems":[{"level":"warning","text":"\u0000"}]}`))
	f.Add([]byte(`{`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, Name), text, 0o600))
		r, err := LoadFile(dir, Name)
		if err != nil {
			return
		}
		r.Failed()
		r.Nothing()
		r.UnprotectedByKind()
	})
}
