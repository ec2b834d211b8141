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

// killTime is how long programs that were started have to be killed when this one ends.
const killTime = 200 * time.Millisecond

// told is why a command ends that a signal tells to.
type told struct{ signal syscall.Signal }

func (t told) Error() string { return fmt.Sprintf("told to end (%s)", t.signal) }

// Is makes it a [context.Canceled]: what it ends has no fault of its own.
func (told) Is(target error) bool { return target == context.Canceled }

// status is what a shell knows for that end.
func (t told) status() int { return 128 + int(t.signal) }

// signals are those that tell a command to end.
func signals() (came chan os.Signal, stop func()) {
	came = make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return came, func() { signal.Stop(came) }
}

// reading runs a command that only reads. It ends at once when this process is told to
// end, with the status that a shell knows for that, and within the limit whatever hangs:
// that is left behind, and stage says what it was. What work started is killed; it must
// print nothing once its context has ended.
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

// leaveTime is how long a command that a person ends waits for what it has begun.
const leaveTime = 2 * time.Second

// changing runs a command that changes pools. Told to end, it begins nothing more, and ends
// when what it has begun has. A person does not wait longer than leaveTime for that, and not
// at all after a second signal: nothing is killed, and ends by itself.
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
	return &exit{why.status(), fmt.Errorf("%w: what is said above was done, and nothing else was begun", why)}
}

func left(env *environment, why told) error {
	owed := ""
	if hooks := run.Owed(env.local()); len(hooks) > 0 {
		owed = fmt.Sprintf("; %s: the next run of snap starts what is owed first, snapwatch snap does now", strings.Join(hooks, ", "))
	}
	return &exit{why.status(), fmt.Errorf("%w, and what ZFS or a hook was at was left to end by itself: "+
		"a channel program that is half way is never killed, and its pool stays locked until then%s", why, owed)}
}
