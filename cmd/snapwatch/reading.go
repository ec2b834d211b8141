package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// killTime is how long programs that were started have to be killed when this one ends.
const killTime = 200 * time.Millisecond

// errTold is why a command ended that was told to.
var errTold = errors.New("told to end")

// reading runs a command that only reads. It ends at once when this process is told to
// end, with the status that a shell knows for that, and within the limit whatever hangs:
// that is left behind, and stage says what it was. What work started is killed; it must
// print nothing once its context has ended.
func reading(limit time.Duration, stage *atomic.Value, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(told)
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = work(ctx)
	}()
	var timeout <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	var err error
	select {
	case <-ended:
		return result
	case <-timeout:
		err = fmt.Errorf("no answer within %s while %s", limit, stage.Load())
	case by := <-told:
		err = &exit{code: 128 + int(by.(syscall.Signal)), err: fmt.Errorf("%w (%s) while %s", errTold, by, stage.Load())}
	}
	cancel(err)
	select {
	case <-ended:
	case <-time.After(killTime):
	}
	return err
}
