package remote

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// An exporter must know its client's timeout: otherwise the exporter would wait for a pool that
// hangs until the client has given up.
func TestReadTellsTheExporterHowLongItWaits(t *testing.T) {
	var told string
	exporter := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told = r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")
	}))
	defer exporter.Close()
	_, err := Read(t.Context(), exporter.URL, 7500*time.Millisecond)
	assert.Error(t, err, "an empty answer is none")
	assert.Equal(t, "7.500", told)
}

func TestReadRefusesWhatIsNoExporter(t *testing.T) {
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/redirect"):
			http.Redirect(w, r, "/", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/version"):
			_, _ = w.Write([]byte(`{"version":7}`))
		case strings.HasPrefix(r.URL.Path, "/nopool"):
			_, _ = w.Write([]byte(`{"version":1,"disks":[{"dataset":"tank/vm-1-disk-0","guid":"1"}]}`))
		case strings.HasPrefix(r.URL.Path, "/nodisk"):
			_, _ = w.Write([]byte(`{"version":1,"disks":[{"dataset":"tank/x","guid":"1"}]}`))
		case strings.HasPrefix(r.URL.Path, "/huge"):
			_, _ = w.Write(bytes.Repeat([]byte(" "), 17<<20))
		default:
			http.Error(w, "no\n", http.StatusTeapot)
		}
	}))
	defer live.Close()
	for url, want := range map[string]string{
		"tank": "not a URL", "file:///x": "not a URL", "http://127.0.0.1:1": "refused",
		live.URL + "/redirect": "302", live.URL + "/version": "version 7", live.URL + "/nopool": "pool is not in",
		live.URL + "/nodisk": "is not a disk", live.URL + "/huge": "larger than", live.URL + "/x": "418",
	} {
		_, err := Read(t.Context(), url, time.Minute)
		assert.ErrorContains(t, err, want, url)
	}
}
