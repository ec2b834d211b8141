package report

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Interrupted is prune's note about a receive that was interrupted. The note is needed because ZFS
// does not record the time of the interruption.
type Interrupted struct {
	// Since is the time when a run first saw the interrupted receive with the present token. Seen
	// is the time when a run last saw the interrupted receive.
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	// Token is a digest of the receive's resume token. The resume token changes whenever more data
	// arrives.
	Token string `json:"token"`
	// Newest is the guid of the dataset's newest managed snapshot, 0 if it is unknown or if there
	// is none. Newest ignores snapshots that are not managed, because such snapshots may be made on
	// this host while the receive is interrupted.
	Newest uint64 `json:"newest,omitempty"`
}

// If no run reads the dataset of an interrupted receive for interruptedFor, the note about the
// receive is dropped.
const interruptedFor = 30 * 24 * time.Hour

// Ahead reports whether the note about an interrupted receive has a time in the future, because a
// clock was wrong.
func (i Interrupted) Ahead(now time.Time) bool { return i.Since.After(now) || i.Seen.After(now) }

func (i Interrupted) counts(now time.Time) bool {
	return !i.Ahead(now) && now.Sub(i.Seen) <= interruptedFor
}

// Again (a method) returns the note about the interrupted receive that a run sees now. token is the
// text of the receive's resume token. newest is the guid of the dataset's newest managed snapshot,
// 0 if it is unknown. The returned note has the time Since of the note i only if token and newest
// are the same as in i: otherwise, the run sees a different interruption. The token alone does not
// prove an interruption, because a resumable receive also has a token while it is running.
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

// InterruptedAt returns, by dataset, each note about an interrupted receive in the report that is
// still valid at the time now.
func (r *Run) InterruptedAt(now time.Time) map[string]Interrupted {
	return selectEntries(r.Interrupted, func(i Interrupted) bool { return i.counts(now) })
}
