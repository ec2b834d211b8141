//go:build e2e && soak

package e2e

// kills is how often a run is killed while it holds guests still.
const kills = 50
