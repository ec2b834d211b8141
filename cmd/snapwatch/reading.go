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

// Before this process exits, it kills the programs that it started, and waits for at most killTime
// until these programs have ended.
const killTime = 200 * time.Millisecond

// signalError is the error of a command that a signal ended.
type signalError struct{ signal syscall.Signal }

func (t signalError) Error() string { return fmt.Sprintf("interrupted by a signal (%s)", t.signal) }

// Is reports whether target is [context.Canceled]: work that a signal interrupted is not reported
// as faulty.
func (signalError) Is(target error) bool { return target == context.Canceled }

// status returns the exit status that shells use for a program that the signal ended.
func (t signalError) status() int { return 128 + int(t.signal) }

// signals returns a channel that receives the signals that end a command. After a call of `stop`,
// the channel receives no more signals.
func signals() (came chan os.Signal, stop func()) {
	came = make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return came, func() { signal.Stop(came) }
}

// runReading runs a command that only reads: the function `work`. After a signal, runReading
// returns immediately, with the exit status that shells use for this signal. Without a signal,
// runReading returns when the command ends, but at the latest after the time limit. If the command
// hangs, runReading stops waiting at the time limit, and the error names the stage of the command.
// runReading kills the programs that the command started. After the end of the command's context,
// the command must not print anything.
func runReading(limit time.Duration, stage *atomic.Value, work func(ctx context.Context) error) error {
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
		why := signalError{by.(syscall.Signal)}
		err = &exit{code: why.status(), err: fmt.Errorf("%w while %s", why, stage.Load())}
	}
	cancel(err)
	select {
	case <-ended:
	case <-time.After(killTime):
	}
	return err
}

// If a person interrupts a command that changes pools, the command waits for at most leaveTime
// until its present work has ended.
const leaveTime = 2 * time.Second

// runChanging runs a command that changes pools. After a signal, the command starts no further
// work, and runChanging waits until the present work has ended. If a person typed the command,
// runChanging waits for at most leaveTime, and a second signal ends this wait. Work that has begun
// is never killed. If this process exits before the work has ended, the work continues.
func runChanging(env *environment, work func(ctx context.Context) error) error {
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
	var why signalError
	select {
	case <-ended:
		return result
	case by := <-came:
		why = signalError{by.(syscall.Signal)}
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

func left(env *environment, why signalError) error {
	owed := ""
	if hooks := run.Owed(env.local()); len(hooks) > 0 {
		owed = fmt.Sprintf("; %s: the next run of snap first starts the hooks that are owed; to start them now, run snapwatch snap", strings.Join(hooks, ", "))
	}
	return &exit{why.status(), fmt.Errorf("%w; ZFS or a hook is still at work and ends by itself: "+
		"a running channel program is never killed, and its pool stays locked until it ends%s", why, owed)}
}
