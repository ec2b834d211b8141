package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"snapwatch/checker"
)

// pendingReceive is a receive that was seen to be pending: into this dataset, beside these
// newest snapshots, with this token.
type pendingReceive struct {
	GUID uint64 `json:"guid,string"`
	// Newest is the newest snapshot of whatever kind, Managed the guid of the newest managed
	// one, 0 for none.
	Newest  string `json:"newest_of_any"`
	Managed uint64 `json:"newest_managed,string"`
	// Token is a digest of the token.
	Token string    `json:"token"`
	Since time.Time `json:"since"`
}

// continues reports whether the receive that is pending now is still the one that was pending
// before. When one is finished there is another newest snapshot; but one that is not managed
// may have been made here, by whatever makes snapshots on this host, and then it is the same
// receive as long as its token is the same.
func (p pendingReceive) continues(before pendingReceive) bool {
	return p.GUID == before.GUID && p.Managed == before.Managed && !before.Since.After(p.Since) &&
		(p.Newest == before.Newest || p.Token == before.Token)
}

// digest tells a token from others; it is no secret.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// seePending says of each disk of a pool since when its receive has been pending, and
// remembers it for the next scan. A time that is still to come was that of a clock that
// was ahead. Of a disk that could not be read it is not known whether the receive is another.
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
