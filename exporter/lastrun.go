package exporter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"snapwatch/exporter/page"
	"snapwatch/internal/report"
)

// runWait is how long the page waits for the file, which is read at once, or
// hangs with the pool it lies on.
const runWait = 500 * time.Millisecond

// lastRun reads what the page shows of the last run of snap.
func (s *Store) lastRun() page.LastRun {
	if s.settings.Runs.Last == nil {
		return page.LastRun{}
	}
	seen, waited, err := s.runs.get(context.Background(), runWait)
	switch {
	case !waited:
		seen.Problem = fmt.Sprintf("reading the report of the last run takes longer than %s", runWait)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		seen.Problem = err.Error()
	}
	return seen
}

// read reads the last run's report. Without one, it returns what is known all the same.
func (r Runs) read() (page.LastRun, error) {
	run, err := r.Last()
	if err != nil {
		run = report.Run{}
	}
	return page.LastRun{Run: run, Known: err == nil, Expected: r.Expected != nil && r.Expected()}, err
}
