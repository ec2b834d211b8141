package exporter

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"snapwatch/config"
)

// contentPolicy lets the page use its own files and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// requireAuth keeps the names of datasets and snapshots from those who can merely reach
// the port, and from pages of others in the browser of somebody who can: it answers who has
// shown a password or a certificate, and whoever came to loopback and named this host.
func (s Server) requireAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		auth, err := s.authenticated(r)
		switch {
		case auth, onLoopback(r) && s.named(r):
			next.ServeHTTP(w, r)
		case onLoopback(r):
			http.Error(w, "The request names another host than this one: use its address, localhost, "+
				"or a name that the exporter was given (--web.allowed-host).", http.StatusForbidden)
		default:
			http.Error(w, forbidden(err), http.StatusForbidden)
		}
	})
}

// authenticated reports whether the request came with a password that exporter-toolkit has
// asked for, or with a certificate that it has verified. The file is read at each request,
// as exporter-toolkit does; but whether it speaks TLS was decided at its start.
func (s Server) authenticated(r *http.Request) (bool, error) {
	auth, err := config.LoadWebAuth(s.WebConfig)
	if err != nil {
		return false, err
	}
	_, _, password := r.BasicAuth()
	certificate := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	return auth.Passwords && password || auth.Certificates && certificate, nil
}

// named reports whether a request is for this host by a name that nobody else gives it. A
// page of somebody else's reaches loopback by a name of its own, to which it gives that
// address (DNS rebinding); also through a tunnel that ends here.
func (s Server) named(r *http.Request) bool {
	if _, socket := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); socket {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	if host == "" || net.ParseIP(host) != nil { // no browser leaves it out
		return true
	}
	return slices.ContainsFunc(append([]string{"localhost", s.Host}, s.AllowedHosts...), func(name string) bool {
		return strings.EqualFold(name, host)
	})
}

func forbidden(err error) string {
	text := "This address is not loopback, and the request has no password and no client certificate that the web " +
		"configuration (--web.config.file) asks for: only the metrics and /-/healthy are served here."
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
