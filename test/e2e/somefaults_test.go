//go:build e2e && !nightly

package e2e

// everyKind is for nightly: here the ways in which calls go wrong take turns.
const everyKind = false
