package sim

import (
	"flag"
	"os"
	"runtime/debug"
	"testing"
)

var (
	manyWeeks = flag.Int("weeks", 2, "how many random weeks to play")
	firstSeed = flag.Int("seed", 1, "the seed of the first of them; each next one has the next")
)

// TestMain reads -weeks and -seed: few weeks are played with the unit tests, many in
// stages of their own.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(-1)        // the worlds are small,
	debug.SetMemoryLimit(1 << 30) // and this is enough for long
	os.Exit(m.Run())
}
