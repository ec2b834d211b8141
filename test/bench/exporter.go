package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// address is the listen address of the exporter under test.
const address = "127.0.0.1:10191"

// exporter is a running exporter.
type exporter struct {
	cmd *exec.Cmd
	// programs is the number of programs that a scrape in the steady state starts.
	programs int
}

// startExporter starts an exporter that has already been scraped, and counts the programs that a
// scrape starts.
func (r *rig) startExporter(root string) error {
	const log = "/tmp/exporter-execs"
	if err := os.RemoveAll("/tmp/state"); err != nil {
		return err
	}
	r.exporter.end() // the old exporter occupies the address
	words := []string{r.program, "exporter", "--config", configurationOf(root), "--state-dir", "/tmp/state", "--web.listen-address", address}
	counted, err := launch(append([]string{"strace", "-f", "-qq", "-e", "trace=execve", "-o", log}, words...))
	if err != nil {
		return err
	}
	// If a disk changed a moment before the first scrape, the second scrape looks up the disk's
	// newest snapshot again, so the measurement begins after the second scrape.
	err = errors.Join(outlive(), counted.scrape())
	before, countErr := execs(log)
	err = errors.Join(err, countErr, outlive(), counted.scrape())
	after, countErr := execs(log)
	counted.end()
	if err != nil || countErr != nil {
		return fmt.Errorf("exporter under strace: %w", errors.Join(err, countErr))
	}
	if r.exporter, err = launch(words); err != nil {
		return err
	}
	r.exporter.programs = after - before
	return nil
}

// launch starts an exporter and returns after the first successful scrape.
func launch(words []string) (*exporter, error) {
	e := &exporter{cmd: exec.Command(words[0], words[1:]...)}
	e.cmd.Stderr = os.Stdout
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := e.scrape()
		if err == nil {
			return e, nil
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
}

// outlive moves the clock forward until the exporter reads the pools again: for some seconds after
// a scrape, the exporter answers other requests from the same data.
func outlive() error { return advanceClock(5100 * time.Millisecond) }

func (e *exporter) scrape() error {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "120")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the exporter answers %s", answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// end stops the exporter and waits until the exporter's process has ended. For a nil exporter,
// which was never started, end does nothing.
func (e *exporter) end() {
	if e != nil {
		// The signal goes to the whole process group, because the exporter would survive the end of
		// strace.
		_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGTERM)
		_ = e.cmd.Wait()
	}
}
