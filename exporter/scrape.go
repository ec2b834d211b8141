package exporter

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// maxScrapes is the greatest number of scrapes answered at the same time.
const maxScrapes = 5

// metrics returns the handler of scrapes. metrics prints the text format with the quick code of
// this package, and all other formats with client_golang.
func (s Server) metrics(store *Store) http.Handler {
	others := prometheus.NewRegistry()
	others.MustRegister(version.NewCollector("snapwatch"))
	others.MustRegister(nodeCollector{store})
	if store.settings.Runs.Last != nil {
		others.MustRegister(snapCollector(store.settings.Runs))
	}
	if store.settings.Prunes.Last != nil {
		others.MustRegister(pruneCollector(store.settings.Prunes))
	}
	if s.OwnMetrics {
		others.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	disks := prometheus.NewRegistry()
	disks.MustRegister(collector{report: store.Report, config: store.config})
	whole := promhttp.HandlerFor(prometheus.Gatherers{others, disks}, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.Log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: maxScrapes,
	})
	quick := textHandler{store: store, others: others, log: s.Log, turns: make(chan struct{}, maxScrapes), packers: &sync.Pool{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...).FormatType() == expfmt.TypeTextPlain {
			quick.ServeHTTP(w, r)
			return
		}
		whole.ServeHTTP(w, r)
	})
}

// textHandler answers a scrape in Prometheus' text format.
type textHandler struct {
	store  *Store
	others prometheus.Gatherer
	log    *slog.Logger
	turns  chan struct{}
	// packers contains gzip writers for reuse, because each gzip writer takes more than a
	// megabyte.
	packers *sync.Pool
}

// ServeHTTP implements [http.Handler]. ServeHTTP does everything that may fail before it sends
// the first byte, so that a client never treats half of an answer as complete.
func (h textHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	default:
		http.Error(w, "too many scrapes at the same time, try again later", http.StatusServiceUnavailable)
		return
	}
	report := h.store.Report()
	pools := prometheus.NewRegistry()
	pools.MustRegister(poolCollector{report}, ownerCollector{report})
	families, err := prometheus.Gatherers{h.others, pools}.Gather()
	if err != nil {
		h.log.Error("metrics not collected", "err", err)
		http.Error(w, "metrics not collected: "+err.Error(), http.StatusInternalServerError)
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	out := h.compressed(w, r)
	encoder := expfmt.NewEncoder(out, format)
	for _, f := range families {
		if err = encoder.Encode(f); err != nil {
			break
		}
	}
	if err == nil {
		err = writeDisks(out, report, h.store.config())
	}
	if err == nil {
		err = writeGuests(out, report.Guests)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil { // most likely the client has disconnected
		h.log.Debug("metrics not sent", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// compressed returns a writer that compresses with the fastest level if the client accepts gzip.
func (h textHandler) compressed(w http.ResponseWriter, r *http.Request) io.WriteCloser {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if name, _, _ := strings.Cut(accepted, ";"); strings.TrimSpace(name) == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			return h.packer(w)
		}
	}
	return uncompressed{w}
}

func (h textHandler) packer(w io.Writer) packer {
	z, used := h.packers.Get().(*gzip.Writer)
	if used {
		z.Reset(w)
	} else {
		z, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
	}
	return packer{z, h.packers}
}

// packer is a gzip writer from a pool. Close of a packer also puts the gzip writer back into the
// pool.
type packer struct {
	*gzip.Writer
	from *sync.Pool
}

func (p packer) Close() error {
	err := p.Writer.Close()
	p.from.Put(p.Writer)
	return err
}

type uncompressed struct{ io.Writer }

func (uncompressed) Close() error { return nil }
