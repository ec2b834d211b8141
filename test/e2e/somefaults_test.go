//go:build e2e && !nightly

package e2e

// everyKind is for nightly: here the ways in which calls go wrong take turns.
const everyKind = false

// feeds is how often a copy is received onto.
const feeds = 2
