//go:build e2e && nightly

package e2e

// drillKills is the number of drills that a test kills.
const drillKills = 20
