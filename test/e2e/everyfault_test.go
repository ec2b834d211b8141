//go:build e2e && nightly

package e2e

// everyKind lets each call go wrong in each way.
const everyKind = true
