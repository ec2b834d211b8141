package checker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// An exporter that does not know how long it is waited for would wait for a pool that
// hangs until nobody listens any more.
func TestFromTellsTheExporterHowLongItWaits(t *testing.T) {
	var told string
	exporter := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told = r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")
	}))
	defer exporter.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _, err := From(ctx, exporter.URL)
	assert.Error(t, err, "an empty answer is none")
	seconds, err := strconv.ParseFloat(told, 64)
	assert.NoError(t, err)
	assert.Greater(t, seconds, 30.0)
	assert.LessOrEqual(t, seconds, 60.0)
}
