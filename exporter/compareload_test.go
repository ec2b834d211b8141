package exporter

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
)

// peakHeap returns, in MiB, the largest size of the heap during a call of the function `do`.
func peakHeap(do func()) (peak uint64) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc>>20)
		select {
		case <-done:
			return peak
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A comparison request of the greatest size, and a request with the greatest number of disks, take
// little memory: the exporter's unit allows 512 MiB.
func TestALargeComparisonTakesLittleMemory(t *testing.T) {
	r := newRig(t, world())
	one := `{"disk":"vm-1-disk-0","newest":{}}`
	for disks, want := range map[int]int{(checker.MaxRequest - 100) / (len(one) + 1): 400, (16<<20 - 100) / (len(one) + 1): 413, checker.MaxCompareDisks: 200} {
		body := `{"version":2,"disks":[` + strings.Repeat(one+",", disks-1) + one + `]}`
		var answer *httptest.ResponseRecorder
		peak := peakHeap(func() { answer = post(server().Handler(r.Store), body) })
		assert.Equal(t, want, answer.Code, "%d disks: %.100s", disks, answer.Body)
		assert.Less(t, peak, uint64(200), "%d disks", disks)
		assert.Less(t, answer.Body.Len(), checker.MaxAnswer)
	}
}

// Only a few large requests are read at the same time. Requests with bodies that never end can
// block other large requests, but take no more memory. A large request that has waited too long is
// refused. A small request is read immediately.
func TestFewCompareAtATime(t *testing.T) {
	r := newRig(t, world())
	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	long := strings.Repeat("x", 7<<20)
	for range 20 {
		c, err := net.Dial("tcp", live.Listener.Addr().String())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		go func() {
			_, _ = fmt.Fprintf(c, "POST /api/v1/compare HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{\"version\":2,\"x\":\"", checker.MaxRequest)
			_, _ = io.WriteString(c, long)
		}()
	}
	peak := peakHeap(func() { time.Sleep(time.Second) })
	assert.Less(t, peak, uint64(200))
	for padding, want := range map[int]int{0: 200, smallRequest: 503} {
		body := `{"version":2,` + strings.Repeat(" ", padding) + `"disks":[]}`
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, live.URL+"/api/v1/compare", strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "2")
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, want, answer.StatusCode)
		assert.Equal(t, want == 503, strings.Contains(string(text), "ask again later"), "%s", text)
	}
	live.CloseClientConnections()
}

// A snapshot name that is several times in a request is looked up once.
func TestEachNameOnce(t *testing.T) {
	w := wanted{}
	for range 3 {
		w.add("tank/vm-1-disk-0", checker.SnapshotRef{Name: "autosnap_2026-03-29_12:00:00_hourly"})
	}
	w.add("tank/vm-1-disk-0", checker.SnapshotRef{})
	assert.Len(t, w["tank"], 1)
}
