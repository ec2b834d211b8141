package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"snapwatch/snapper/run"
)

// killTime is the longest time that this process waits, before it exits, until the programs that it
// started are killed.
const killTime = 200 * time.Millisecond

// told is the error of a command that a signal ended.
type told struct{ signal syscall.Signal }

func (t told) Error() string { return fmt.Sprintf("interrupted by a signal (%s)", t.signal) }

// Is makes told a [context.Canceled], so that the interrupted work is not reported as faulty.
func (told) Is(target error) bool { return target == context.Canceled }

// status returns the exit status that shells use for a program ended by the signal.
func (t told) status() int { return 128 + int(t.signal) }

// signals returns a channel that receives the signals that end a command. After stop the channel
// receives no more signals.
func signals() (came chan os.Signal, stop func()) {
	came = make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return came, func() { signal.Stop(came) }
}

// reading runs a command that only reads. reading returns immediately after a signal, with the exit
// status that shells use for that signal, and otherwise when work ends, at the latest after the
// time in limit. Work that hangs is abandoned, and the error names its stage. reading kills the
// programs that the function work started. After the context of work has ended, work must not print
// anything.
func reading(limit time.Duration, stage *atomic.Value, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	came, stop := signals()
	defer stop()
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
	case by := <-came:
		why := told{by.(syscall.Signal)}
		err = &exit{code: why.status(), err: fmt.Errorf("%w while %s", why, stage.Load())}
	}
	cancel(err)
	select {
	case <-ended:
	case <-time.After(killTime):
	}
	return err
}

// leaveTime is the longest wait for unfinished work after a person interrupted a command that
// changes pools.
const leaveTime = 2 * time.Second

// changing runs a command that changes pools. After a signal the command starts nothing new, and
// changing returns when the work under way has finished. If a person typed the command, changing
// waits at most leaveTime, and a second signal ends that wait. The work under way is never
// killed; it finishes after this process has exited.
func changing(env *environment, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	came, stop := signals()
	defer stop()
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = work(ctx)
	}()
	var why told
	select {
	case <-ended:
		return result
	case by := <-came:
		why = told{by.(syscall.Signal)}
		cancel(why)
	}
	if !env.Typed {
		<-ended
		return result
	}
	select {
	case <-ended:
	case <-came:
		return left(env, why)
	case <-time.After(leaveTime):
		return left(env, why)
	}
	if result != nil && errors.Is(result, context.Canceled) {
		return &exit{why.status(), fmt.Errorf("%w: nothing was changed", why)}
	}
	var end *exit
	if errors.As(result, &end) && end.err != nil {
		fmt.Fprintf(env.Stderr, "snapwatch: %v\n", end)
	}
	return &exit{why.status(), fmt.Errorf("%w: everything reported above was done, and nothing else was started", why)}
}

func left(env *environment, why told) error {
	owed := ""
	if hooks := run.Owed(env.local()); len(hooks) > 0 {
		owed = fmt.Sprintf("; %s: the next run of snap first starts the hooks that are owed; to start them now, run snapwatch snap", strings.Join(hooks, ", "))
	}
	return &exit{why.status(), fmt.Errorf("%w; ZFS or a hook is still at work and ends by itself: "+
		"a running channel program is never killed, and its pool stays locked until it ends%s", why, owed)}
}
