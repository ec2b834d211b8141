package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bootTime is the longest wait for the machine's exporter. An emulated machine starts in 15 seconds
// if the host is idle.
const bootTime = 4 * time.Minute

// freePort returns a port on which no program listens now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// machine is the lab's machine, which runs test/page.
type machine struct {
	t             *testing.T
	page, control string
}

// boot starts the lab's machine with the job that make test-browser has built.
func boot(t *testing.T) machine {
	t.Helper()
	page, control := freePort(t), freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute) // the context of t ends before the cleanup
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "../lab/boot", "--timeout", "480",
		"--forward", fmt.Sprintf("%d:10191", page), "--forward", fmt.Sprintf("%d:10192", control), "../../bin/pagejob")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // boot ends the machine when it gets this signal
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m := machine{t, fmt.Sprintf("http://127.0.0.1:%d", page), fmt.Sprintf("http://127.0.0.1:%d", control)}
	t.Cleanup(func() {
		if response, err := http.Post(m.control+"/end", "", nil); err == nil {
			_ = response.Body.Close()
		}
		assert.NoError(t, <-ended, "the machine's job: %s", &said)
	})
	for end := time.Now().Add(bootTime); ; time.Sleep(100 * time.Millisecond) {
		if response, err := http.Get(m.page + "/-/healthy"); err == nil {
			_ = response.Body.Close()
			return m
		}
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("the machine ended: %v: %s", err, &said)
		default:
		}
		require.True(t, time.Now().Before(end), "no answer from the machine: %s", &said)
	}
}

// do makes the program test/page in the machine carry out the action with the name deed, for
// example a change of a pool.
func (m machine) do(deed string) {
	m.t.Helper()
	response, err := http.Post(m.control+"/"+deed, "", nil)
	require.NoError(m.t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(m.t, http.StatusOK, response.StatusCode, deed)
}

// TestOverRealPools loads the page of a real exporter, with real pools, from another host.
func TestOverRealPools(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH"))
	m := boot(t)
	stranger, err := http.Get(m.page)
	require.NoError(t, err)
	require.NoError(t, stranger.Body.Close())
	assert.Equal(t, http.StatusUnauthorized, stranger.StatusCode, "without a password nothing is shown")

	b := newTab(t, m.page)
	b.login("Basic " + base64.StdEncoding.EncodeToString([]byte("lab:lab")))
	b.open("/")
	shows := func(what string) {
		t.Helper()
		require.Eventually(t, func() bool {
			b.refresh()
			return strings.Contains(strings.Join(b.text("main"), "\n"), what)
		}, 2*time.Minute, 200*time.Millisecond, what)
	}
	shows("2 guests with 2 disks")
	assert.Equal(t, []string{"✓ whole", "✓ whole"}, b.text(".guests .badge"))
	m.do("later")
	shows("2 of 2 disks stale")
	m.do("snapshot")
	shows("1 of 2 disks stale")
	b.press(".guests", "qemu/100")
	b.press(".guests", "vm-100-disk-0")
	shows("hourly 2")
	m.do("suspend")
	shows("pool frail is suspended")
	assert.Len(t, b.text("#bars .bar"), 1)
	assert.Len(t, b.guests(), 2, "what was read last is still shown")
	m.do("resume")
	require.Eventually(t, func() bool {
		b.refresh()
		return len(b.text("#bars .bar")) == 0
	}, 2*time.Minute, 200*time.Millisecond)
}
