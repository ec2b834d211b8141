package run

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// reportWorld is a world that saves the last report in a file.
type reportWorld struct {
	*virtualWorld
	dir string
}

func (w reportWorld) LastReport(name string) (report.Run, error) { return report.Last(w.dir, name) }

// A report that cannot be parsed is not used, not even the part that can be parsed.
func TestHalfReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").lapses = "reset"
		r := w.run(t, freezing("100"))
		require.Len(t, told(r, report.Warning, "reset"), 1)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, report.Name), []byte(`{"last_success":"1999-06-01T00:00:00Z","locked":{"of":3},"quiesced":[{"vmid":100,"consistent":"crash","fault":"it may have continued before the snapshot was made: reset"}]}`), 0o644))
		time.Sleep(15 * time.Minute)
		o := w.options(freezing("100"))
		o.World = reportWorld{w, dir}
		_, r, err := Run(t.Context(), o)
		require.NoError(t, err)
		assert.Len(t, told(r, report.Warning, "reset"), 1, "the last report is not used, so the fault is told")
	})
}

// A report that is not used gives no last success, and neither does a time in the future.
func TestNoLastSuccess(t *testing.T) {
	for name, text := range map[string]string{
		"not used":      `{"last_success":"1999-12-31T23:00:00Z","locked":{"of":3}}`,
		"of the future": `{"last_success":"2036-01-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				w.pool("tank").busy = true
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, report.Name), []byte(text), 0o644))
				o := w.options()
				o.World = reportWorld{w, dir}
				_, r, err := Run(t.Context(), o)
				require.NoError(t, err)
				require.False(t, r.Success)
				assert.Zero(t, r.LastSuccess)
			})
		})
	}
}
