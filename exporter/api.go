package exporter

import (
	"encoding/json"
	"net/http"
)

// disksAPI returns the handler that serves a [checker.Document].
func disksAPI(store *Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := store.Report()
		owners, err := store.owners(r.Context())
		for i := range report.Disks {
			report.Disks[i].Owned = ownership(owners, err, report.Disks[i].VMID)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// Encode fails only if the client has disconnected, so its error is ignored.
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		e.SetEscapeHTML(false)
		_ = e.Encode(report.Document())
	})
}
