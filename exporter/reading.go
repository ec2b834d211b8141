package exporter

import (
	"context"
	"sync"
	"time"
)

// reader reads a value whose reading may hang. Only one reading runs at a time, so that a reading
// that hangs blocks one goroutine, for any number of callers.
type reader[T any] struct {
	read func() (T, error)

	mu      sync.Mutex
	reading *reading[T]
	// The field `last` is the value of the last reading without an error, nil before the first
	// reading without an error.
	last *T
}

type reading[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// get waits until a reading has ended, the duration `limit` has passed, or ctx ends. The result
// `waited` is true if the reading has ended.
func (r *reader[T]) get(ctx context.Context, limit time.Duration) (value T, waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	current := r.join()
	select {
	case <-current.done:
		return current.value, true, current.err
	case <-ctx.Done():
		return value, false, ctx.Err()
	}
}

// known returns the last value that was read without an error, nil before the first such reading.
// known does not wait for a reading.
func (r *reader[T]) known() *T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// join returns the reading that is in progress. If no reading is in progress, join starts a reading
// and returns it.
func (r *reader[T]) join() *reading[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading != nil {
		return r.reading
	}
	current := &reading[T]{done: make(chan struct{})}
	r.reading = current
	go func() {
		defer close(current.done)
		current.value, current.err = r.read()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.reading = nil; current.err == nil {
			r.last = &current.value
		}
	}()
	return current
}
