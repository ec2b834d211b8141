package remote

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
)

// A busy exporter of an owner answers with the number of seconds after which it can be asked again.
// If the timeout allows a second request, the owner is asked again after the number of seconds that
// the exporter named. The second request contains the remaining time.
func TestABusyOwnerIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		retryAfter string
		timeout    time.Duration
		calls      int
		failure    string
	}{
		"busy once":         {503, "1", 20 * time.Second, 2, ""},
		"no time for that":  {503, "20", 5 * time.Second, 1, "compare with this node"},
		"it does not say":   {503, "", 20 * time.Second, 1, "compare with this node"},
		"at a date":         {503, "Wed, 21 Oct 2026 07:28:00 GMT", 20 * time.Second, 1, "compare with this node"},
		"at once":           {503, "0", 20 * time.Second, 1, "compare with this node"},
		"another complaint": {500, "1", 20 * time.Second, 1, "compare with this node"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told []float64
			owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				left, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
				assert.NoError(t, err)
				if told = append(told, left); len(told) == 1 {
					w.Header().Set("Retry-After", c.retryAfter)
					http.Error(w, "others compare with this node", c.status)
					return
				}
				_, _ = w.Write([]byte(`{"version":2,"time":"2026-03-29T12:00:00Z","disks":[]}`))
			}))
			defer owner.Close()
			o, err := NewOwners(config.Owners{URLs: []string{owner.URL}})
			require.NoError(t, err)
			_, nodes := o.Ask(t.Context(), c.timeout, checker.Report{}, func(string) (string, string) { return "", "" })
			require.Len(t, nodes, 1)
			if assert.Contains(t, nodes[0].Failure, c.failure); c.failure == "" {
				assert.Empty(t, nodes[0].Failure)
			}
			require.Len(t, told, c.calls)
			assert.InDelta(t, c.timeout.Seconds(), told[0], 0.001)
			if c.calls == 2 {
				assert.LessOrEqual(t, told[1], told[0]-1)
			}
		})
	}
}

// A node that cannot read its own list of guests counts as silent, so check continues to use the
// node's last full answer. If an answer without guests replaced the full answer, check would stop
// reporting absent disks.
func TestAnOwnerThatDoesNotKnowItsGuests(t *testing.T) {
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"version":2,"time":"2026-03-29T12:00:00Z","disks":[],"guests_problem":"is pmxcfs hung?"}`))
	}))
	defer owner.Close()
	o, err := NewOwners(config.Owners{URLs: []string{owner.URL}})
	require.NoError(t, err)
	_, nodes := o.Ask(t.Context(), time.Minute, checker.Report{}, func(string) (string, string) { return "", "" })
	require.Len(t, nodes, 1)
	assert.Equal(t, "it does not know its guests: is pmxcfs hung?", nodes[0].Failure)
	assert.Zero(t, nodes[0].At)
}
