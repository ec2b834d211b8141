//go:build e2e && !nightly

package e2e

// everyKind is false in the usual tests: these tests let each call of a program fail in one way,
// and the nightly tests let it fail in every way.
const everyKind = false

// feeds is the number of times that a test sends new snapshots to a copy.
const feeds = 2
