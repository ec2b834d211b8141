//go:build e2e && !soak

package e2e

// frozenKills is the number of runs that a test kills while guests are frozen.
const frozenKills = 10
