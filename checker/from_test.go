package checker

import (
	"net/http"
	"net/http/httptest"
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
	_, _, err := From(t.Context(), exporter.URL, 7500*time.Millisecond)
	assert.Error(t, err, "an empty answer is none")
	assert.Equal(t, "7.500", told)
}
