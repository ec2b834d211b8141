package exporter

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"snapwatch/internal/report"
)

// runSeen is what the page shows of the last run of snap on this host.
type runSeen struct {
	report.Run
	// Known is false where there was none, or where its report could not be read:
	// then Problem says why.
	Known   bool
	Problem string
	// Expected is true where snap is registered here.
	Expected bool
}

// runWait is how long the page waits for the file, which is read at once, or
// hangs with the pool it lies on.
const runWait = 500 * time.Millisecond

// runReader reads the last run's report, one reading at a time.
type runReader struct {
	runs Runs

	mu      sync.Mutex
	reading chan struct{}
	last    runSeen
}

// get waits a moment for a fresh reading, and then gives the one before.
func (r *runReader) get() runSeen {
	if r.runs.Last == nil {
		return runSeen{}
	}
	select {
	case <-r.join():
	case <-time.After(runWait):
		return runSeen{Problem: fmt.Sprintf("reading the report of the last run takes longer than %s", runWait)}
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

func (r *runReader) read() runSeen {
	var l runSeen
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
