package report

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Interrupted is prune's note about a receive that was interrupted. The note is needed because ZFS
// does not record the time of the interruption.
type Interrupted struct {
	// Since is the time when a run first saw the interrupted receive with the present token; Seen
	// is the time when a run last saw the interrupted receive.
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	// Token is a digest of the receive's resume token, which changes whenever more data arrives.
	Token string `json:"token"`
	// Newest is the guid of the dataset's newest managed snapshot, 0 if it is unknown or if there
	// is none. Snapshots that are not managed may be made on this host while the receive waits.
	Newest uint64 `json:"newest,omitempty"`
}

// interruptedFor is the time after which the note about an interrupted receive is dropped if no run
// reads its dataset.
const interruptedFor = 30 * 24 * time.Hour

// Ahead reports whether the note about an interrupted receive has a time in the future, because a
// clock was wrong.
func (i Interrupted) Ahead(now time.Time) bool { return i.Since.After(now) || i.Seen.After(now) }

func (i Interrupted) counts(now time.Time) bool {
	return !i.Ahead(now) && now.Sub(i.Seen) <= interruptedFor
}

// Again returns the note about an interrupted receive that a run sees now. token is the text of the
// receive's resume token. newest is the guid of the dataset's newest managed snapshot, 0 if it is
// unknown. The note i is about the same interruption only if neither value has changed, because a
// resumable receive has a token also while it is running.
func (i Interrupted) Again(token string, newest uint64, now time.Time) Interrupted {
	sum := sha256.Sum256([]byte(token))
	next := Interrupted{Since: now, Seen: now, Token: hex.EncodeToString(sum[:8]), Newest: newest}
	if newest == 0 {
		next.Newest = i.Newest
	}
	if i.counts(now) && i.Token == next.Token && (i.Newest == 0 || i.Newest == next.Newest) {
		next.Since = i.Since
	}
	return next
}

// InterruptedAt returns the notes about interrupted receives in the report that are still valid at
// the time now.
func (r *Run) InterruptedAt(now time.Time) map[string]Interrupted {
	return those(r.Interrupted, func(i Interrupted) bool { return i.counts(now) })
}
