package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The constant `again` is the time between two attempts of [Wait] to take a lock. Wait does not
// block in flock(2), because the end of ctx cannot wake a thread that is blocked in flock(2).
const again = 50 * time.Millisecond

// Wait takes the lock at path for this process alone, as [TryExclusive] does, and waits for the
// lock until ctx ends. If ctx ends first, the error holds the [*Busy] of the last try and the cause
// of ctx's end.
func Wait(ctx context.Context, path string, now time.Time) (*Lock, error) {
	l, err := wait(ctx, path, private, now)
	if _, busy := errors.AsType[*Busy](err); busy {
		return nil, fmt.Errorf("%w; waited for it: %w", err, context.Cause(ctx))
	}
	return l, err
}

// wait does the work of [Wait], for a lock file with the given mode. The error of wait
// is the error of the last attempt to take the lock.
func wait(ctx context.Context, path string, mode fs.FileMode, now time.Time) (*Lock, error) {
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		l, err := tryExclusive(path, mode, now)
		if _, busy := errors.AsType[*Busy](err); !busy {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}
