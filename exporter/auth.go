package exporter

import (
	"fmt"
	"net"
	"net/http"

	"snapwatch/config"
)

// contentPolicy lets the page use its own files and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// requireAuth keeps the names of datasets and snapshots from those who can merely reach
// the port: on an address that is not loopback it answers only if the web
// configuration asks for a password or a client's certificate.
func (s Server) requireAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if onLoopback(r) {
			next.ServeHTTP(w, r)
			return
		}
		// The file is read at each request, as exporter-toolkit does.
		auth, err := config.WebAuth(s.WebConfig)
		if err != nil || !auth {
			http.Error(w, forbidden(err), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func forbidden(err error) string {
	text := "This address is not loopback, and the web configuration (--web.config.file) asks for no password " +
		"and no client certificate: only the metrics and /-/healthy are served here."
	if err != nil {
		text += fmt.Sprintf(" The file could not be read: %v.", err)
	}
	return text
}

// onLoopback reports whether the request came to an address that only this host can
// reach: loopback, or a socket in the file system.
func onLoopback(r *http.Request) bool {
	switch address := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return address.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}
