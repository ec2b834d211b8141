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

// Server is how the exporter is reached.
type Server struct {
	Listen        []string
	SystemdSocket bool
	// WebConfig is exporter-toolkit's file for TLS and passwords, "" for none.
	WebConfig string
	// MetricsPath is where the metrics are, /metrics.
	MetricsPath string
	// OwnMetrics adds metrics about the exporter as a process.
	OwnMetrics bool
	// Host and Version are named on the page.
	Host, Version string
	// AllowedHosts are further names by which this host may be asked for the page.
	AllowedHosts []string
	Log          *slog.Logger
}

// Serve answers until it fails or ctx ends.
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
		return nil // asked to end
	}
	return err
}

func (s Server) server(store *Store) *http.Server {
	open := new(connections)
	return &http.Server{
		Handler: timed(s.Handler(store), bodyTimeout), ReadHeaderTimeout: headerTimeout, WriteTimeout: longestWait + time.Minute,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ConnState: open.changed, ConnContext: open.noted,
	}
}

// Handler answers every path. Only the metrics and the sign of life are for
// everybody: see [Server.requireAuth].
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

// facts are those of the page, which reads nothing from zfs but lets the pools, and a history
// that is not known, be read for the next time.
func (s Server) facts(store *Store) func(disk string) page.Facts {
	return func(disk string) page.Facts {
		f := page.Facts{
			Host: s.Host, Version: s.Version, MetricsPath: s.MetricsPath,
			Report: store.Report(), Listings: store.listings(), Run: store.lastRun(), Config: store.config(),
		}
		f.Own = func(d checker.Disk) bool { return d.Owned == checker.Owned && !isCopy(f.Config, d.Dataset) }
		for _, d := range f.Report.Disks {
			if disk != "" && d.Dataset == disk && !d.Gone {
				f.History = store.histories.get(d.Disk)
			}
		}
		store.RefreshLater()
		return f
	}
}

// The time a request waits for a scan: what Prometheus says in its header less a
// part for sending the answer, else what suits its default of ten seconds.
const (
	defaultWait = 8 * time.Second
	waitOffset  = 500 * time.Millisecond
	// longestWait is longer than any scrape may take, and bounds how long one who asks and
	// does not read the answer takes another's turn.
	longestWait = 5 * time.Minute
)

// refreshed lets every request begin a scan and wait for it as long as it may; what
// comes after reads only what is there.
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
	if !(err == nil && given > 0 && given <= 3600) { // NaN is neither
		return defaultWait
	}
	timeout := min(time.Duration(given*float64(time.Second)), longestWait)
	return max(timeout-waitOffset, timeout/2)
}
