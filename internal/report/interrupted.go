package report

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Interrupted is what prune noted of a receive that was broken off: ZFS does not say since when it
// waits.
type Interrupted struct {
	// Since is when a run first saw it like this, Seen when one last did.
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	// Token is a digest of its resume token, which is another one as soon as more has arrived.
	Token string `json:"token"`
	// Newest is the guid of the dataset's newest managed snapshot, 0 where that is not known or
	// there is none. Others may be made on this host while the receive waits.
	Newest uint64 `json:"newest,omitempty"`
}

// interruptedFor is how long a note stays of a dataset that no run looks at.
const interruptedFor = 30 * 24 * time.Hour

// Ahead reports whether a clock was ahead when the note was made.
func (i Interrupted) Ahead(now time.Time) bool { return i.Since.After(now) || i.Seen.After(now) }

func (i Interrupted) counts(now time.Time) bool {
	return !i.Ahead(now) && now.Sub(i.Seen) <= interruptedFor
}

// Again returns the note of a receive that a run sees now, by the text of its resume token and the
// guid of the dataset's newest managed snapshot, 0 where that is not known. It is the receive of i only
// where neither has changed: each receive of a stream that can be resumed has a token while it is
// at work.
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

// InterruptedAt returns those of the run's notes that count for one that begins at a time.
func (r *Run) InterruptedAt(now time.Time) map[string]Interrupted {
	return those(r.Interrupted, func(i Interrupted) bool { return i.counts(now) })
}
