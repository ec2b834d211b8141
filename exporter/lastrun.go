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

// runWait is how long the page waits for the report's file. The file is read immediately, or
// reading hangs together with its pool.
const runWait = 500 * time.Millisecond

// lastRun reads the report of the last run of snap for the page.
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

// read reads the last run's report. If there is no report, the result still says whether snap is
// registered.
func (r Runs) read() (page.LastRun, error) {
	run, err := r.Last()
	if err != nil {
		run = report.Run{}
	}
	return page.LastRun{Run: run, Known: err == nil, Expected: r.Expected != nil && r.Expected()}, err
}
