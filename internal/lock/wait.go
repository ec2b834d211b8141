package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// again is how long [Wait] waits between two tries. flock(2) itself can only be
// waited for by a thread that nothing but the lock's holder can wake.
const again = 50 * time.Millisecond

// Wait takes the lock at path for this process alone, as [TryExclusive] does, and
// waits for it until ctx ends. The error then holds the [*Busy] of the last try
// and the one of ctx.
func Wait(ctx context.Context, path string, now time.Time) (*Lock, error) {
	l, err := wait(ctx, path, private, now)
	if _, busy := errors.AsType[*Busy](err); busy {
		return nil, fmt.Errorf("%w; waited for it: %w", err, context.Cause(ctx))
	}
	return l, err
}

// wait is Wait for a lock of any mode. The error is that of the last try.
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
