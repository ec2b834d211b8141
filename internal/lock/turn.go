package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// longestTurn is how long other users are waited for at most.
	longestTurn = 5 * time.Second
	// vainFor is for how long nobody of a user waits again after one has waited in vain.
	vainFor = time.Minute
	vain    = "waited in vain at "
)

// Turn is leave to do what only one process on the machine should do at a time.
type Turn struct {
	locks []*Lock
	// Note says why others may do it at the same time, "" if none does.
	Note string
	// Waited is true where another process of this user had the turn first.
	Waited bool
}

// Files are the open lock files, to be inherited by a child.
func (t Turn) Files() []*os.File {
	var files []*os.File
	for _, l := range t.locks {
		files = append(files, l.File())
	}
	return files
}

// Release gives the turn up in this process, as [Lock.Release] does.
func (t Turn) Release() {
	for _, l := range t.locks {
		_ = l.Release()
	}
}

// WaitTurn waits for two locks called name in dir. The first is this user's, and waited for
// until ctx ends: the error then holds a [*Busy]. The second all users of the machine share.
// Any of them can hold it for ever, so that it is waited for during half of the time that
// ctx has left, and no longer than longestTurn. Who has waited in vain says so in the first
// lock's file: else all of one user who come at once would wait, one after the other. Without
// it, or where somebody else took even the place of the first, the turn comes with a note.
func WaitTurn(ctx context.Context, dir, name string, now time.Time) (turn Turn, err error) {
	first := filepath.Join(dir, fmt.Sprintf("%s@%d.lock", name, os.Geteuid()))
	own, err := TryExclusive(first, now)
	if _, busy := errors.AsType[*Busy](err); busy {
		turn.Waited = true
		own, err = Wait(ctx, first, now)
	}
	if _, busy := errors.AsType[*Busy](err); busy {
		return turn, err
	}
	if err != nil {
		turn.Note = fmt.Sprintf("%v: it keeps out no other listing", err)
	} else {
		turn.locks = append(turn.locks, own)
	}
	path := filepath.Join(dir, name+".lock")
	since, waited := own.waitedInVain(now)
	var common *Lock
	if waited {
		common, err = tryExclusive(path, shared, now)
	} else {
		since = now
		common, err = waitShared(ctx, path, now)
	}
	if _, busy := errors.AsType[*Busy](err); busy && own != nil {
		own.note(now, fmt.Sprint(vain, since.Unix(), "\n"))
	}
	if err != nil {
		turn.Note = fmt.Sprintf("%v: not waited for", err)
		return turn, nil
	}
	turn.locks = append(turn.locks, common)
	return turn, nil
}

// waitedInVain returns when another holder of this lock waited in vain for the second one, if
// that was a short time ago.
func (l *Lock) waitedInVain(now time.Time) (at time.Time, is bool) {
	if l == nil {
		return time.Time{}, false
	}
	_, text, _ := strings.Cut(l.before, vain)
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	at = time.Unix(seconds, 0)
	return at, err == nil && now.Sub(at).Abs() < vainFor
}

// waitShared waits for a lock that all users share, during half of the time that ctx has left
// and no longer than longestTurn.
func waitShared(ctx context.Context, path string, now time.Time) (*Lock, error) {
	limit := longestTurn
	if end, has := ctx.Deadline(); has {
		limit = min(limit, time.Until(end)/2) //nolint:forbidigo // a deadline is by this clock, too
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return wait(ctx, path, shared, now)
}
