//go:build e2e && nightly

package e2e

// everyKind is true: every call of a program fails in every way.
const everyKind = true

// feeds is the number of times that a copy is received.
const feeds = 10
