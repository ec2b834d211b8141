//go:build lab

// Package lab_test boots machines that hang: go test -tags lab ./test/lab.
package lab_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The constant `again` is a part of the message that test/lab/boot prints before it restarts a
// machine.
const again = "it is started again"

// result has the output and the exit status of test/lab/boot.
type result struct {
	stdout, stderr string
	code           int
}

// boot starts a virtual machine of the lab, which runs the given shell script. After 24 s without a
// sign of life, test/lab/boot ends this machine; a healthy machine gives a sign of life every 10 s.
func boot(t *testing.T, job string, options ...string) result {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"+job), 0o755))
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("./boot", append(append([]string{"--silence", "24"}, options...), dir)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	t.Logf("exit status %d after %s", r.code, r.stderr)
	return r
}

// TestHangsOnce: if a machine hangs at boot, test/lab/boot starts the machine again, and the job
// runs. test/lab/boot prints one line more than for a machine that does not hang.
func TestHangsOnce(t *testing.T) {
	r := boot(t, "echo done; exit 7", "--hang", "1")
	assert.Equal(t, 7, r.code)
	assert.Equal(t, "done\n", r.stdout)
	assert.Equal(t, 1, strings.Count(r.stderr, "\n"))
	assert.Contains(t, r.stderr, again+" (1 of 3)\n")
}

// TestHangsAlways: test/lab/boot gives up if a machine hangs at each of four starts.
func TestHangsAlways(t *testing.T) {
	r := boot(t, "echo done", "--hang", "4")
	assert.Equal(t, 125, r.code)
	assert.Empty(t, r.stdout)
	assert.Equal(t, 3, strings.Count(r.stderr, again))
	assert.Contains(t, r.stderr, "lab: the machine hung")
}

// lines is a job that prints 60 lines, and one line on the console.
const lines = `for i in $(seq 60); do echo "line $i."; done
echo told the console >/dev/console
`

// assertLast checks that boot printed the console and the last 50 lines of the job's output.
func assertLast(t *testing.T, r result) {
	t.Helper()
	assert.NotContains(t, r.stderr, again, "the job had begun")
	assert.Contains(t, r.stderr, "told the console")
	assert.Contains(t, r.stderr, "line 11.\n")
	assert.Contains(t, r.stderr, "line 60.\n")
	assert.NotContains(t, r.stderr, "line 10.\n")
}

// TestHangsLater: all programs of a machine are stopped. test/lab/boot ends the machine, and prints
// the console and the last output of the job.
func TestHangsLater(t *testing.T) {
	r := boot(t, lines+"kill -STOP -1; exec sleep infinity")
	assert.Equal(t, 125, r.code)
	assert.Contains(t, r.stderr, "lab: the machine hung")
	assertLast(t, r)
}

// TestTimeIsUp: if a job hangs in a healthy machine, only the timeout ends the machine; boot prints
// the console and the last output of the job.
func TestTimeIsUp(t *testing.T) {
	r := boot(t, lines+"exec sleep infinity", "--timeout", "90")
	assert.Equal(t, 124, r.code)
	assertLast(t, r)
}

// TestCountedSleep: the clock of the machine counts instructions. When the job sleeps, the machine
// skips the time of the sleep.
func TestCountedSleep(t *testing.T) {
	r := boot(t, "sleep 600; echo done", "--icount")
	assert.Zero(t, r.code)
	assert.Equal(t, "done\n", r.stdout)
	assert.Empty(t, r.stderr)
}
