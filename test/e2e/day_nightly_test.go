//go:build e2e && nightly

package e2e

import (
	"testing"
	"time"

	"snapwatch/test/sim"
)

// TestDayOfANode plays a day of a node as TestRandomSteps plays random weeks: what Proxmox does
// from an evening to the next morning, with its replication, and a run each quarter of an hour, after
// which the model and the pools are compared.
func TestDayOfANode(t *testing.T) {
	usual := *storyTime
	*storyTime = max(usual, 30*time.Minute) // beside other work it takes long
	defer func() { *storyTime = usual }()
	setup, plan := sim.LabDay()
	playInLab(t, setup, plan, sim.DayTicks)
}
