package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

var manyWeeks = flag.Int("weeks", 2, "how many random weeks to play")

// TestMain lets -weeks say how much is played: few with the unit tests, many in the
// stages of their own.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{
		"rapid.checks": fmt.Sprint(max(1, *manyWeeks/2)), "rapid.nofailfile": "true",
		"rapid.shrinktime": "1s", // Shorten does it better
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	debug.SetGCPercent(800) // the worlds are small
	os.Exit(m.Run())
}
