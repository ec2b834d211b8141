package exporter

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
	"snapwatch/exporter/page"
	"snapwatch/internal/zfs"
)

func TestHistoriesAreBoundedAndTellWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock, listed := &clock{at: start}, 0
		h := &histories{now: clock.now, of: map[string]history{}, list: func(_ context.Context, dataset string) ([]zfs.Snapshot, error) {
			listed++
			if strings.Contains(dataset, "-200-") {
				return nil, errors.New("I/O error")
			}
			return []zfs.Snapshot{{Name: "a"}}, nil
		}}
		// asked calls h.get for a disk, and waits until the listing that h.get started has ended.
		// asked returns what h.get has returned: the history for the page at the first request.
		asked := func(d checker.Disk) page.History {
			shown := h.get(d)
			synctest.Wait()
			return shown
		}
		for i := range maxHistories + 5 {
			clock.forward(time.Second)
			d := aged(200+i, 0, time.Hour)
			assert.True(t, asked(d).Reading, "nothing is waited for")
			if i == 0 {
				assert.Equal(t, "I/O error", asked(d).Problem)
			} else {
				assert.Equal(t, 1, asked(d).Total)
			}
		}
		assert.Len(t, h.of, maxHistories)
		assert.NotContains(t, h.of, "tank/vm-200-disk-0", "the oldest goes")
		assert.Equal(t, maxHistories+5, listed, "each once")
		failed := aged(200, 0, time.Hour)
		asked(failed)
		assert.Equal(t, "I/O error", asked(failed).Problem)
		assert.Equal(t, maxHistories+6, listed)
		clock.forward(retryAge)
		asked(failed)
		assert.Equal(t, maxHistories+7, listed, "what failed is tried again soon")
		newer := aged(200+maxHistories, 0, time.Minute)
		newer.NewestOfAny = newer.Newest.Name
		assert.Equal(t, 1, asked(newer).Total, "the old list is shown")
		assert.Equal(t, maxHistories+8, listed, "and read again")
	})
}
