package scan

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
	"snapwatch/internal/zfstest"
)

// With and without the cache, a guest's restore point must be the same, for any sequence of
// received and destroyed snapshots.
func TestARestorePointIsTheSameWithAndWithoutMemory(t *testing.T) {
	for seed := uint64(70); seed < 78; seed++ { // with one of these seeds an old version found a restore point that was too old
		chance := rand.New(rand.NewPCG(seed, 28))
		var kept [2]map[int]bool // the snapshots of both disks, by time
		var newest [2]int
		kept[0], kept[1] = map[int]bool{1: true}, map[int]bool{1: true}
		var f *zfstest.Fake
		var warm Scanner
		for step := range 4 {
			var lists [2][]zfstest.Snapshot
			for k := range kept {
				for at := newest[k] + 1; at < min(newest[k]+6, 40); at++ {
					if chance.IntN(2) == 0 {
						kept[k][at], newest[k] = true, at
					}
				}
				for at := 1; at < 40; at++ {
					if kept[k][at] && at < newest[k] && chance.IntN(4) == 0 {
						delete(kept[k], at)
					}
					if kept[k][at] {
						lists[k] = append(lists[k], made(time.Duration(400-at*10)*minute, "hourly", uint64(at*10+k+1)))
					}
				}
			}
			w := twoPools(lists[0], lists[1])
			w.Datasets[2].Changed += int64(60 * step)
			w.Datasets[3].Changed += int64(60 * step)
			if f == nil {
				f = zfstest.New(t, w)
				warm = scanner(f)
			}
			f.Set(w)
			with, _ := guestsOf(t, f, warm, "fast", "tank")
			without, _ := guestsOf(t, f, scanner(f), "fast", "tank")
			assert.Equal(t, pointOf(without), pointOf(with), "seed %d, step %d", seed, step)
		}
	}
}

func pointOf(guests []checker.Guest) string {
	if len(guests) == 0 || guests[0].Point == nil {
		return "none"
	}
	return guests[0].Point.Time
}
