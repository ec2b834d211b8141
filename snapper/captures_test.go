package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

func TestCaptureDue(t *testing.T) {
	kept := report.Kept{Sum: "a", Snapshot: "autosnap_2026-07-15_10:00:00_hourly"}
	const today, tomorrow = "autosnap_2026-07-15_12:07:00_hourly", "autosnap_2026-07-16_00:00:00_daily"
	assert.False(t, CaptureDue(kept, "a", today, zfs.Hourly, true))
	assert.True(t, CaptureDue(kept, "b", today, zfs.Hourly, true), "it changed")
	assert.True(t, CaptureDue(kept, "a", tomorrow, zfs.Daily, true), "a new day")
	assert.True(t, CaptureDue(kept, "a", today, zfs.Stopped, true), "the guest stopped")
	assert.True(t, CaptureDue(kept, "a", today, zfs.Hourly, false), "the one that had it is gone")
	assert.True(t, CaptureDue(report.Kept{}, "a", today, zfs.Hourly, false), "never before")
}
