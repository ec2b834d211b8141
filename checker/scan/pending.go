package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"snapwatch/checker"
)

// pendingReceive is a pending receive as a scan saw it: the receiving dataset, the newest snapshots
// of this dataset at that time, and a digest of the resume token.
type pendingReceive struct {
	GUID uint64 `json:"guid,string"`
	// Newest is the name of the dataset's newest snapshot, managed or not. Managed is the guid of
	// the newest managed snapshot, 0 if there is none.
	Newest  string `json:"newest_of_any"`
	Managed uint64 `json:"newest_managed,string"`
	// Token is a digest of the receive's resume token.
	Token string    `json:"token"`
	Since time.Time `json:"since"`
}

// continues reports whether the receive `p`, which is pending now, is the receive that was pending
// at an earlier scan. A finished receive gives the dataset a new newest snapshot. If the new
// snapshot is not managed, this host may have made it. In this case an unchanged token shows that
// the receive `p` was pending at the earlier scan, too.
func (p pendingReceive) continues(before pendingReceive) bool {
	return p.GUID == before.GUID && p.Managed == before.Managed && !before.Since.After(p.Since) &&
		(p.Newest == before.Newest || p.Token == before.Token)
}

// digest returns a short digest of a resume token, different for different tokens and not secret.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// seePending sets for each disk of a pool the time since when its receive has been pending, and
// remembers this time for the next scan. If the recorded start of a receive is in the future, the
// clock was ahead when the start was recorded, and seePending replaces the start. If a disk could
// not be read, its receive counts as unchanged.
func (c *Cache) seePending(disks []checker.Disk, digests map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range disks {
		d := &disks[i]
		before, known := c.pending[d.Dataset]
		if !d.PendingReceive {
			if known {
				delete(c.pending, d.Dataset)
				c.learnt.pending[d.Dataset] = d.ReadAt
				c.unsaved = true
			}
			continue
		}
		now := pendingReceive{GUID: d.GUID, Newest: d.NewestOfAny, Token: digests[d.Dataset], Since: d.ReadAt}
		if d.Newest != nil {
			now.Managed = d.Newest.GUID
		}
		if !known || (d.Problem == "" && d.Unlisted == "" && !now.continues(before)) {
			before = now
			c.pending[d.Dataset] = now
			c.learnt.pending[d.Dataset] = d.ReadAt
			c.unsaved = true
		}
		d.PendingSince = before.Since
	}
}
