package scan

import (
	"time"

	"snapwatch/checker"
)

// pendingReceive is a receive that was seen to be pending: into this dataset, beside this
// newest snapshot. When one is finished there is another newest snapshot.
type pendingReceive struct {
	GUID   uint64    `json:"guid,string"`
	Newest string    `json:"newest_of_any"`
	Since  time.Time `json:"since"`
}

// seePending says of each disk of a pool since when its receive has been pending, and
// remembers it for the next scan. A time that is still to come was that of a clock that
// was ahead.
func (c *Cache) seePending(disks []checker.Disk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range disks {
		d := &disks[i]
		before, known := c.pending[d.Dataset]
		if !d.PendingReceive {
			if known {
				delete(c.pending, d.Dataset)
				c.unsaved = true
			}
			continue
		}
		if !known || before.GUID != d.GUID || before.Newest != d.NewestOfAny || before.Since.After(d.ReadAt) {
			before = pendingReceive{d.GUID, d.NewestOfAny, d.ReadAt}
			c.pending[d.Dataset] = before
			c.unsaved = true
		}
		d.PendingSince = before.Since
	}
}
