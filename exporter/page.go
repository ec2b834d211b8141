package exporter

import (
	_ "embed"
	"html/template"
	"net/http"

	"snapwatch/checker"
)

//go:embed page.html
var pageText string

// page shows the verdicts to a person.
func (s Server) page(store *Store) http.Handler {
	page := template.Must(template.New("page").Funcs(template.FuncMap{"age": checker.Age}).Parse(pageText))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		// An error here is a client that has gone.
		_ = page.Execute(w, struct {
			checker.Report
			MetricsPath string
		}{store.Report(), s.MetricsPath})
	})
}
