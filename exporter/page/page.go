// Package page shows the verdicts to a person, as HTML. The page shows the facts that the
// exporter last read, and never waits for zfs.
package page

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

//go:embed *.html *.css *.js *.svg
var files embed.FS

// assets has, by file name, the content type of each file that is served below /page/.
var assets = map[string]string{
	"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8",
	"ok.svg": "image/svg+xml", "warning.svg": "image/svg+xml", "critical.svg": "image/svg+xml", "unknown.svg": "image/svg+xml",
}

var funcs = template.FuncMap{
	"age":   text.Age,
	"since": func(now, then time.Time) string { return text.Age(max(0, now.Sub(then))) },
	"clock": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
	"lower": strings.ToLower,
	"path":  path,
	"icon":  func(colour string) string { return icons[colour] },
	"at":    sinceWords,
	"openGuest": func(q query, g guest) string {
		if q.Guest, q.Disk = g.VMID, ""; g.Open {
			q.Guest = 0
		}
		return q.link()
	},
	"openLink": func(q query, dataset string) string {
		q.Disk = dataset
		return q.link()
	},
	"inPool": func(q query, pool string) string { return q.changedURL(func(q *query) { q.Pool = pool }) },
	"turn": func(q query, page int) string {
		q.Page = page
		return q.link()
	},
	"base":  zfs.Base,
	"count": text.Count,
	"badge": func(colour, word string, state checker.State) any { return badge{colour, word, state} },
	"first": first,
	"add":   func(a, b int) int { return a + b },
}

// badge is a verdict that the page shows in its colour, with its state.
type badge struct {
	Colour, Word string
	State        checker.State
}

// maxItems is the greatest number of items that the page shows of a list in a run's report. Some
// lists in the report may name every disk.
const maxItems = 20

// first returns the first maxItems items of a list of any type.
func first(list any) any {
	v := reflect.ValueOf(list)
	return v.Slice(0, min(v.Len(), maxItems)).Interface()
}

// icons has a symbol for each colour, for readers who cannot distinguish the colours.
var icons = map[string]string{"green": "✓", "red": "✕", "yellow": "!", "purple": "?", "grey": "–", "blue": "↓"}

// New returns the handler of the page. The page shows the result of the function facts. The
// argument `disk` of the function facts is the disk whose details the page shows, "" for none.
func New(log *slog.Logger, facts func(disk string) Facts) http.Handler {
	page := template.Must(template.New("page.html").Funcs(funcs).ParseFS(files, "*.html"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := parseQuery(r.URL.Query())
		var text bytes.Buffer
		if err := page.Execute(&text, newView(facts(q.Disk), q)); err != nil {
			log.Error("page not made", "err", err)
			http.Error(w, "The page could not be made; the exporter's log says why.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		// Write fails only if the client has disconnected, so its error is ignored.
		_, _ = w.Write(text.Bytes())
	})
}

// Asset serves a style sheet, script or icon of the page.
func Asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind, known := assets[name]
	text, err := files.ReadFile(name)
	if !known || err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache") // the file may differ in the next version
	_, _ = w.Write(text)
}
