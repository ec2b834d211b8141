package exporter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
)

// comparisons merges comparison requests that arrive while earlier ones are being answered, so
// that forty checks that start together cost the pools little more than one check.
type comparisons struct {
	compare func(context.Context, checker.CompareRequest) checker.CompareAnswer
	// turns contains one element for each running comparison.
	turns chan struct{}

	mu sync.Mutex
	// next is the batch that waits for the end of a running comparison and accepts more requests,
	// nil if no batch waits.
	next *batch
}

// batch is a set of comparison requests that are answered as one request.
type batch struct {
	request checker.CompareRequest
	// deadline is the earliest deadline of the batch's requests.
	deadline time.Time
	// done is closed when the batch's answer or err is set.
	done   chan struct{}
	answer checker.CompareAnswer
	err    error
}

// similar, a constant, is the greatest difference between the deadlines of requests in one batch.
// The whole batch ends at its earliest deadline, which must not shorten a request with a late
// deadline by much.
const similar = 2 * time.Second

var errBusy = errors.New("no turn came in time")

// answer returns the answer to a comparison request with a deadline. answer returns an error if the
// comparison failed, if other comparisons used up the time, or if ctx ended.
func (c *comparisons) answer(ctx context.Context, deadline time.Time, request checker.CompareRequest) (checker.CompareAnswer, error) {
	b, from := c.join(deadline, request)
	select {
	case <-b.done:
	case <-ctx.Done():
		return checker.CompareAnswer{}, ctx.Err()
	}
	answer := b.answer
	if b.err == nil {
		answer.Disks = answer.Disks[from : from+len(request.Disks)]
	}
	return answer, b.err
}

// join adds a comparison request to the waiting batch, or starts a batch. The result `from` is the
// index that the request's first disk has in the batch.
func (c *comparisons) join(deadline time.Time, request checker.CompareRequest) (b *batch, from int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b = c.next; b != nil && len(b.request.Disks)+len(request.Disks) <= checker.MaxCompareDisks && deadline.Sub(b.deadline).Abs() <= similar {
		from = len(b.request.Disks)
		b.request.Disks = append(b.request.Disks, request.Disks...)
		if deadline.Before(b.deadline) {
			b.deadline = deadline
		}
		return b, from
	}
	b = &batch{request: request, deadline: deadline, done: make(chan struct{})}
	b.request.Disks = slices.Clip(b.request.Disks)
	c.next = b
	go c.carryOut(b, time.Until(deadline)/2) //nolint:forbidigo // a deadline is by this clock, too
	return b, 0
}

// carryOut answers a batch as soon as fewer than maxComparisons comparisons are running. If
// maxComparisons comparisons are running for the whole duration `wait`, the batch fails with
// errBusy.
func (c *comparisons) carryOut(b *batch, wait time.Duration) {
	defer close(b.done)
	defer func() {
		if e := recover(); e != nil {
			b.err = fmt.Errorf("internal error while comparing: %v\n%s", e, debug.Stack())
		}
	}()
	turn := false
	select {
	case c.turns <- struct{}{}:
		turn = true
		defer func() { <-c.turns }()
	case <-time.After(wait):
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.close(b))
	defer cancel()
	if b.err = errBusy; turn {
		b.answer, b.err = c.compare(ctx, b.request), nil
	}
}

// close excludes further requests from the batch, and returns its deadline.
func (c *comparisons) close(b *batch) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == b {
		c.next = nil
	}
	return b.deadline
}
