//go:build e2e && nightly

package e2e

// everyKind is true in the nightly tests: these tests let every call of a program fail in every
// way.
const everyKind = true

// The constant `feeds` is the number of times that a test sends new snapshots to a copy.
const feeds = 10
