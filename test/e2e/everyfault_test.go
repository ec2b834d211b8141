//go:build e2e && nightly

package e2e

// everyKind lets each call go wrong in each way.
const everyKind = true

// feeds is how often a copy is received onto.
const feeds = 10
