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

// TestMain reads the flags -weeks and -seed. The unit tests play few simulated weeks; separate
// stages of CI play many.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(-1)        // collect garbage only near the memory limit:
	debug.SetMemoryLimit(1 << 30) // simulated worlds are small, so 1 GiB is rarely reached
	os.Exit(m.Run())
}
