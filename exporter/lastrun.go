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

// runWait is the time for which the page waits for the file with the last run's report. Reading
// the file takes no time, or hangs because its pool hangs.
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

// read reads the report of the last run of snap. If there is no report, the result still says
// whether a timer or cron starts snap.
func (r Runs) read() (page.LastRun, error) {
	run, err := r.Last()
	if err != nil {
		run = report.Run{}
	}
	return page.LastRun{Run: run, Known: err == nil, Expected: r.Expected != nil && r.Expected()}, err
}
