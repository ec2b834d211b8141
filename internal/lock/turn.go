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
	// WaitTurn waits for a process of another user for at most longestTurn.
	longestTurn = 5 * time.Second
	// If a process waited for other users without getting the turn, no process of the same user
	// waits for other users during the next vainFor.
	vainFor = time.Minute
	vain    = "waited in vain at "
)

// Turn is the permission for a piece of work that at most one process on the machine should do at a
// time.
type Turn struct {
	locks []*Lock
	// Note is the reason why other processes may do the same work at the same time, "" if no other
	// process can have the turn.
	Note string
	// Waited is true if another process of this user had the turn while this process waited.
	Waited bool
}

// Files returns the open lock files, which a child may inherit.
func (t Turn) Files() []*os.File {
	var files []*os.File
	for _, l := range t.locks {
		files = append(files, l.File())
	}
	return files
}

// Release gives up the turn, for other processes and for this one.
func (t Turn) Release() {
	for _, l := range t.locks {
		_ = l.Release()
	}
}

// WaitTurn waits until this process may do the work that the argument `name` names. WaitTurn takes
// two locks in dir: the user's lock, which only processes of this user take, and the shared lock,
// which processes of all users take. WaitTurn waits for the user's lock until ctx ends, and then
// returns an error that holds a [*Busy]. Any user could hold the shared lock for ever, so WaitTurn
// waits for the shared lock for half of ctx's remaining time, but at most for longestTurn. A
// process that waited in vain for the shared lock writes the time into the file of the user's lock,
// so that the user's next processes do not wait in vain, too. If the shared lock is busy, or a lock
// file cannot be used, WaitTurn returns a turn with a note.
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
		turn.Note = fmt.Sprintf("%v: other listings may run at the same time", err)
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

// waitedInVain returns the time at which an earlier holder of the user's lock waited in vain for
// the lock of all users. The second result reports whether the returned time is less than vainFor
// ago.
func (l *Lock) waitedInVain(now time.Time) (at time.Time, is bool) {
	if l == nil {
		return time.Time{}, false
	}
	_, text, _ := strings.Cut(l.before, vain)
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	at = time.Unix(seconds, 0)
	return at, err == nil && now.Sub(at).Abs() < vainFor
}

// waitShared waits for a lock that all users share, for half of ctx's remaining time, but at most
// for longestTurn.
func waitShared(ctx context.Context, path string, now time.Time) (*Lock, error) {
	limit := longestTurn
	if end, has := ctx.Deadline(); has {
		limit = min(limit, time.Until(end)/2) //nolint:forbidigo // a deadline is by this clock, too
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return wait(ctx, path, shared, now)
}
