//go:build e2e && nightly

package e2e

import (
	"testing"
	"time"

	"snapwatch/test/sim"
)

// TestDayOfANode plays a day of a node as TestRandomSteps plays random weeks: what Proxmox does
// from one evening to the next, with its replication, and a run each quarter of an hour, after
// which the model and the pools are compared.
func TestDayOfANode(t *testing.T) {
	usual := *storyTime
	*storyTime = max(usual, 80*time.Minute)
	defer func() { *storyTime = usual }()
	setup, plan := sim.LabDay()
	playInLab(t, setup, plan, sim.DayTicks)
}
