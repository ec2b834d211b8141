package exporter

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"snapwatch/exporter/page"
)

// runWait is how long the page waits for the file, which is read at once, or
// hangs with the pool it lies on.
const runWait = 500 * time.Millisecond

// runReader reads the last run's report, one reading at a time.
type runReader struct {
	runs Runs

	mu      sync.Mutex
	reading chan struct{}
	last    page.LastRun
}

// get waits a moment for a fresh reading, and then gives the one before.
func (r *runReader) get() page.LastRun {
	if r.runs.Last == nil {
		return page.LastRun{}
	}
	select {
	case <-r.join():
	case <-time.After(runWait):
		return page.LastRun{Problem: fmt.Sprintf("reading the report of the last run takes longer than %s", runWait)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// join begins a reading unless one is under way; what it returns is closed at its end.
func (r *runReader) join() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading != nil {
		return r.reading
	}
	ended := make(chan struct{})
	r.reading = ended
	go func() {
		defer close(ended)
		read := r.read()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last, r.reading = read, nil
	}()
	return ended
}

func (r *runReader) read() page.LastRun {
	var l page.LastRun
	if r.runs.Expected != nil {
		l.Expected = r.runs.Expected()
	}
	run, err := r.runs.Last()
	switch {
	case err == nil:
		l.Run, l.Known = run, true
	case !errors.Is(err, fs.ErrNotExist):
		l.Problem = err.Error()
	}
	return l
}
