package text

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAge(t *testing.T) {
	for want, seconds := range map[string]int64{
		"0s": 0, "45s": 45, "12m30s": 750, "12m": 720, "3h50m": 13800, "1h": 3601, "2d4h": 187200, "30d": 2592000, "-1m": -60,
	} {
		assert.Equal(t, want, Age(time.Duration(seconds)*time.Second))
	}
}

func TestPlainAndClip(t *testing.T) {
	assert.Equal(t, "a/b c?d", Plain("a|b\nc\xffd"))
	for limit, want := range map[int]string{9: "aäöü", 7: "aäöü", 6: "aä…", 5: "a…"} {
		assert.Equal(t, want, Clip("aäöü", limit), limit)
	}
}

func TestCounts(t *testing.T) {
	for n, want := range map[int][2]string{0: {"0 disks", "0 disks are"}, 1: {"1 disk", "1 disk is"}, 2: {"2 disks", "2 disks are"}} {
		assert.Equal(t, want, [2]string{Count(n, "disk"), Are(n, "disk")})
	}
}

func TestBytes(t *testing.T) {
	for want, n := range map[string]uint64{"0B": 0, "1023B": 1023, "1.0K": 1024, "20.0G": 20 << 30, "731G": 731 << 30, "16.0E": 1<<64 - 1} {
		assert.Equal(t, want, Bytes(n))
	}
}
