//go:build e2e && !nightly

package e2e

// everyKind is false: the tests let each call of a program fail in only one way; the nightly tests
// play all ways.
const everyKind = false

// feeds is the number of times that a test sends new snapshots to a copy.
const feeds = 2
