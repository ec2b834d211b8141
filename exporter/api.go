package exporter

import (
	"net/http"

	"snapwatch/checker"
)

// disksAPI answers with a [checker.Document].
func disksAPI(store *Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// An error here is a client that has gone.
		_ = checker.WriteJSON(w, store.Report())
	})
}
