//go:build e2e && !soak

package e2e

// frozenKills is how often a run is killed while it holds guests still.
const frozenKills = 10
