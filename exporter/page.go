package exporter

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"reflect"
	"strings"
	"time"

	"snapwatch/internal/text"
)

//go:embed page
var pageFiles embed.FS

// assets are served beside the page, by their name below /page/.
var assets = map[string]string{
	"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8",
	"ok.svg": "image/svg+xml", "warning.svg": "image/svg+xml", "critical.svg": "image/svg+xml", "unknown.svg": "image/svg+xml",
}

var pageWords = template.FuncMap{
	"age":   text.Age,
	"since": func(now, then time.Time) string { return text.Age(max(0, now.Sub(then))) },
	"clock": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
	"lower": strings.ToLower,
	"path":  path,
	"guest": guestID,
	"icon":  func(colour string) string { return icons[colour] },
	"unfold": func(q question, vmid int) string {
		q.Guest = vmid
		return q.link()
	},
	"opened": func(q question, dataset string) string {
		q.Disk = dataset
		return q.link()
	},
	"inPool": func(q question, pool string) string { return q.with(func(q *question) { q.Pool = pool }) },
	"turn": func(q question, page int) string {
		q.Page = page
		return q.link()
	},
	"first": first,
	"add":   func(a, b int) int { return a + b },
}

// mostItems bounds the lists of a run, which may name every disk.
const mostItems = 20

// first are the first items of a list of any kind.
func first(list any) any {
	v := reflect.ValueOf(list)
	return v.Slice(0, min(v.Len(), mostItems)).Interface()
}

// icons say beside a colour what it says, to those who cannot see it.
var icons = map[string]string{"green": "✓", "red": "✕", "yellow": "!", "purple": "?", "grey": "–", "blue": "↓"}

// page shows the verdicts to a person. It shows what was last read, and has it read
// anew for the next time; it never waits for zfs.
func (s Server) page(store *Store) http.Handler {
	page := template.Must(template.New("page.html").Funcs(pageWords).ParseFS(pageFiles, "page/*.html"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := questionOf(r.URL.Query())
		facts := store.pageFacts(q)
		facts.Host, facts.Version, facts.MetricsPath = s.Host, s.Version, s.MetricsPath
		store.RefreshLater()
		var text bytes.Buffer
		if err := page.Execute(&text, newPageView(facts, q)); err != nil {
			s.Log.Error("page not made", "err", err)
			http.Error(w, "The page could not be made; the exporter's log says why.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		// An error here is a client that has gone.
		_, _ = w.Write(text.Bytes())
	})
}

// pageFacts reads nothing from zfs; a history that is not known yet is begun.
func (s *Store) pageFacts(q question) pageFacts {
	f := pageFacts{Report: s.Report(), Listings: s.listings(), Run: s.runs.get(), Config: s.settings.Config}
	for _, d := range f.Report.Disks {
		if q.Disk != "" && d.Dataset == q.Disk && !d.Gone {
			f.History = s.histories.get(d.Disk)
		}
	}
	return f
}

// asset serves a file of the page.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind, known := assets[name]
	text, err := pageFiles.ReadFile("page/" + name)
	if !known || err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache") // the next version may have another
	_, _ = w.Write(text)
}
