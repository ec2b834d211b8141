package exporter

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/exporter/page"

	"github.com/prometheus/exporter-toolkit/web"
)

// Server contains the settings of the exporter's web server.
type Server struct {
	Listen        []string
	SystemdSocket bool
	// WebConfig is the path of the web configuration of exporter-toolkit for TLS and passwords,
	// "" for none.
	WebConfig string
	// MetricsPath is the path of the metrics, such as /metrics.
	MetricsPath string
	// OwnMetrics adds metrics about the exporter as a process.
	OwnMetrics bool
	// Host and Version are the name of this host and the version of snapwatch, for the page.
	Host, Version string
	// AllowedHosts contains further host names under which the page may be requested.
	AllowedHosts []string
	Log          *slog.Logger
}

// Serve answers requests until ctx ends or an error occurs.
func (s Server) Serve(ctx context.Context, store *Store) error {
	if err := web.Validate(s.WebConfig); err != nil {
		return config.WebError(s.WebConfig, err)
	}
	server := s.server(store)
	stop := context.AfterFunc(ctx, func() {
		quiet, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(quiet)
	})
	defer stop()
	err := web.ListenAndServe(server, &web.FlagConfig{
		WebListenAddresses: &s.Listen,
		WebSystemdSocket:   &s.SystemdSocket,
		WebConfigFile:      &s.WebConfig,
	}, s.Log)
	if ctx.Err() != nil {
		return nil // ctx ended, which is not an error
	}
	return err
}

func (s Server) server(store *Store) *http.Server {
	open := new(connections)
	return &http.Server{
		Handler: timed(s.Handler(store), bodyTimeout), ReadHeaderTimeout: headerTimeout, WriteTimeout: longestWait + time.Minute,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ConnState: open.changed, ConnContext: open.storeHook,
	}
}

// Handler returns the handler of all paths. Everybody may read the metrics and /-/healthy; all
// other paths need [Server.requireAuth].
func (s Server) Handler(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+s.MetricsPath, refreshed(store, s.metrics(store)))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /api/v1/disks", s.requireAuth(refreshed(store, disksAPI(store))))
	mux.Handle("POST /api/v1/compare", s.requireAuth(compareAPI(store)))
	mux.Handle("GET /{$}", s.requireAuth(page.New(s.Log, s.facts(store))))
	mux.Handle("GET /page/{name}", s.requireAuth(http.HandlerFunc(page.Asset)))
	return mux
}

// facts returns the function that collects the page's facts. The returned function does not wait
// for zfs, but starts reading the pools, and the history of the open disk, for the next request.
func (s Server) facts(store *Store) func(disk string) page.Facts {
	return func(disk string) page.Facts {
		f := page.Facts{
			Host: s.Host, Version: s.Version, MetricsPath: s.MetricsPath,
			Report: store.Report(), Listings: store.listings(), Run: store.lastRun(), Config: store.config(),
		}
		f.Own = func(d checker.Disk) bool { return checker.IsOwn(f.Config, &d) }
		for _, d := range f.Report.Disks {
			if disk != "" && d.Dataset == disk && !d.Gone {
				f.History = store.histories.get(d.Disk)
			}
		}
		store.RefreshLater()
		return f
	}
}

// A request waits for a scan at most for the timeout in Prometheus' header, minus waitOffset for
// sending the answer. A request without Prometheus' timeout header waits for defaultWait, which
// suits the default timeout of ten seconds.
const (
	defaultWait = 8 * time.Second
	waitOffset  = 500 * time.Millisecond
	// longestWait is the longest time for which a request waits for a scan, longer than every
	// scrape timeout. longestWait also limits the time in which a client must read its answer.
	longestWait = 5 * time.Minute
)

// refreshed starts a scan for each request, and waits for the scan within the request's timeout.
// After the wait for the scan, the handler `next` answers from the stored results.
func refreshed(store *Store, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeoutOf(r))
		defer cancel()
		store.Refresh(ctx)
		next.ServeHTTP(w, r)
	})
}

func timeoutOf(r *http.Request) time.Duration {
	given, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if !(err == nil && given > 0 && given <= 3600) { // also refuses NaN
		return defaultWait
	}
	timeout := min(time.Duration(given*float64(time.Second)), longestWait)
	return max(timeout-waitOffset, timeout/2)
}
