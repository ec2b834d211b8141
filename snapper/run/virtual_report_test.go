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

// reportWorld is a virtualWorld that saves the report of the last run in a file.
type reportWorld struct {
	*virtualWorld
	dir string
}

func (w reportWorld) LastReport(name string) (report.Run, error) { return report.Last(w.dir, name) }

// If a part of the last run's report cannot be parsed, the run ignores the whole report.
func TestHalfReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").lapses = "reset"
		r := w.run(t, freezeGuests("100"))
		require.Len(t, problemTexts(r, report.Warning, "reset"), 1)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, report.Name), []byte(`{"last_success":"1999-06-01T00:00:00Z","locked":{"of":3},"quiesced":[{"vmid":100,"consistent":"crash","fault":"it may have continued before the snapshot was made: reset"}]}`), 0o644))
		time.Sleep(15 * time.Minute)
		o := w.options(freezeGuests("100"))
		o.World = reportWorld{w, dir}
		_, r, err := Run(t.Context(), o)
		require.NoError(t, err)
		assert.Len(t, problemTexts(r, report.Warning, "reset"), 1, "the last report is not used, so the fault is told")
	})
}

// The time of the last success is unknown if the last run's report is not usable, or if the report
// has a time of success in the future.
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

// snap warns once when a pool becomes fuller than its limits, or when its free space becomes too
// small for snapshots of thick volumes. A run that warns about a full pool is still a success. If
// zpool hangs, the run ends without the answer of zpool.
func TestRoomIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, true, "vault")
		tank, vault := w.pool("tank"), w.pool("vault")
		tank.size, tank.allocated, vault.spaceHangs = 1000, 850, true
		again := func() report.Run {
			time.Sleep(15 * time.Minute)
			w.last = w.run(t)
			assert.True(t, w.last.Success)
			return w.last
		}
		r := again()
		assert.Len(t, problemTexts(r, report.Notice, "pool tank: 85% of it is taken (limit 80%"), 1, "from cron, check tells it")
		assert.Empty(t, problemTexts(r, report.Warning, "%"))
		assert.Less(t, r.End.Sub(r.Start), 10*time.Second)
		assert.Len(t, problemTexts(r, report.Notice, "pool vault: its fill level is unknown"), 1)
		assert.Equal(t, uint64(850), r.Rooms["tank"].Allocated)

		tank.allocated = 910
		r = again()
		assert.Len(t, problemTexts(r, report.Warning, "pool tank: 91% of it is taken (limit 90%"), 1, "a mail when it begins")
		r = again()
		assert.Empty(t, problemTexts(r, report.Warning, "%"))
		assert.Len(t, problemTexts(r, report.Notice, "pool tank: 91% of it is taken"), 1)

		tank.heads[0].RefReservation, tank.heads[0].Written, tank.heads[0].Available = 64<<30, 8<<30, 9<<30
		r = again()
		assert.Len(t, problemTexts(r, report.Warning, "pool tank: the snapshot of 1 thick volume reserves 8.0G now"), 1)
		assert.NotEmpty(t, r.Rooms["tank"].Short)
		tank.heads[0].Written = 8 << 30 // the guest writes the same number of bytes a second time
		r = again()
		assert.Empty(t, problemTexts(r, report.Warning, "thick"))
		assert.Len(t, problemTexts(r, report.Notice, "thick"), 1)

		// A run that cannot lock the pool copies the earlier report about the pool's free space
		// into its own report, so that the next run does not warn again.
		tank.busy = true
		time.Sleep(15 * time.Minute)
		w.last = w.run(t)
		assert.NotEmpty(t, w.last.Rooms["tank"].Short)
		tank.busy = false
		tank.heads[0].Written = 8 << 30
		r = again()
		assert.Empty(t, problemTexts(r, report.Warning, "tank"), "that is not news")
		assert.Empty(t, (&report.Run{Rooms: r.Rooms}).RoomsAt(time.Now().Add(9*24*time.Hour)), "what nobody looks at any more ends")

		tank.heads[0].Available, tank.allocated = 900<<30, 100
		r = again()
		assert.Empty(t, problemTexts(r, report.Notice, "tank"))
		assert.Empty(t, r.Rooms["tank"].Short)
	})
}
