package exporter

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"snapwatch/config"
)

// contentPolicy is the Content-Security-Policy of the status page, which loads only its own
// files.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// requireAuth hides the names of datasets and snapshots from clients without access that can
// reach the port, and from other web pages in the browser of a user with access. requireAuth
// serves requests with a password or certificate, and requests to a loopback address that name
// this host.
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

// authenticated reports whether the request has a password that the library exporter-toolkit
// checked, or a client certificate that the library verified. Like exporter-toolkit, authenticated
// reads the web configuration at each request. The exporter decides only once, at its start,
// whether it uses TLS.
func (s Server) authenticated(r *http.Request) (bool, error) {
	auth, err := config.LoadWebAuth(s.WebConfig)
	if err != nil {
		return false, err
	}
	_, _, password := r.BasicAuth()
	certificate := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	return auth.Passwords && password || auth.Certificates && certificate, nil
}

// named reports whether the Host header of the request has a name that no foreign web page can
// use. In an attack by DNS rebinding, a foreign web page resolves its own host name to a loopback
// address, which also works through an SSH tunnel to this host.
func (s Server) named(r *http.Request) bool {
	if _, socket := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); socket {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	if host == "" || net.ParseIP(host) != nil { // every browser sends a host
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

// onLoopback reports whether the request arrived at an address that only this host can reach: a
// loopback address, or a Unix socket.
func onLoopback(r *http.Request) bool {
	switch address := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return address.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}
