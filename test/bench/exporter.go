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

// address is where the exporter under test listens.
const address = "127.0.0.1:10191"

// exporter is a running one.
type exporter struct {
	cmd *exec.Cmd
	// programs is how many a steady scrape starts.
	programs int
}

// startExporter starts one that has scraped already, and counts what a scrape
// starts.
func (r *rig) startExporter(root string) error {
	const log = "/tmp/exporter-execs"
	if err := os.RemoveAll("/tmp/state"); err != nil {
		return err
	}
	r.exporter.end() // it has the address
	words := []string{r.program, "exporter", "--config", configurationOf(root), "--state-dir", "/tmp/state", "--web.listen-address", address}
	counted, err := launch(append([]string{"strace", "-f", "-qq", "-e", "trace=execve", "-o", log}, words...))
	if err != nil {
		return err
	}
	// What changed a moment before the first one is looked up again by the next.
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

// launch starts an exporter and returns when it has been scraped.
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

// outlive sets the clock to where the exporter reads the pools again: for a while it
// answers who else asks with what it has.
func outlive() error { return later(5100 * time.Millisecond) }

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

// end ends it and waits; one that was never started is at its end.
func (e *exporter) end() {
	if e != nil {
		// The whole group: strace alone would leave the exporter behind.
		_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGTERM)
		_ = e.cmd.Wait()
	}
}
