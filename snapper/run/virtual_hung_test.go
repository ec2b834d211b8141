package run

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// A pool that hangs does not delay the snapshots on another pool for long, whatever the state of
// the guests on the hung pool is. A pool that hangs does not delay the shutdown of the host.
func TestHungPoolDelaysOthers(t *testing.T) {
	for _, test := range []struct {
		name         string
		alive, final bool
	}{{name: "stopped"}, {name: "living", alive: true}, {name: "final", final: true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.shutdown = test.final
				w.guest(99, test.alive, "ssd")
				w.guest(100, false, "tank")
				w.guest(101, !test.final, "tank")
				w.pool("ssd").hangs()
				w.run(t, func(o *Options) { o.Final = test.final })
				made := w.eventsWith("tank: snapshot")
				require.Len(t, made, 2)
				assert.Less(t, made[1].at, time.Minute)
				if test.final {
					assert.Less(t, time.Since(w.begin), time.Minute)
				}
				for _, e := range w.eventsWith("99: lock released") {
					assert.Less(t, e.at, time.Minute)
				}
			})
		})
	}
}

// A pool that hangs while a guest on it is frozen does not delay other pools for long. snap
// releases the two locks of a frozen guest, on its configuration and on its replication, before
// Proxmox gives up waiting for these locks.
func TestHungPoolFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(200, true, "tank")
		w.pool("ssd").hangs()
		w.pool("ssd").onSync = nil
		w.run(t, freezeGuests("100"))
		assert.Less(t, w.onlyEvent(t, "100: lock released").at, 10*time.Second)
		assert.Less(t, w.onlyEvent(t, "100: migration lock released").at, 2*time.Second)
		assert.Less(t, w.onlyEvent(t, "tank: snapshot").at, time.Minute)
	})
}

// A pool is read successfully, but hangs when the plan needs more evidence from the pool. The hung
// pool does not delay the remaining pools for long.
func TestHangsWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, false, "ssd")
		// The disk on pool ssd has no local label, so the plan asks for the received labels of the
		// disk.
		w.pool("ssd").heads[0].Running = zfs.Property{}
		var asked bool
		w.pool("ssd").onReceived = func(ctx context.Context) error {
			asked = true
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, _, err := Run(ctx, w.options())
		require.NoError(t, err)
		assert.True(t, asked)
		assert.LessOrEqual(t, w.onlyEvent(t, "tank: snapshot").at, time.Minute)
	})
}
