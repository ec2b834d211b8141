//go:build e2e && !soak

package e2e

// frozenKills is how often a run is killed while it has guests frozen.
const frozenKills = 10
