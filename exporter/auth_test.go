package exporter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An attacker's web page can resolve its own name to 127.0.0.1, and read the exporter through the
// visitor's browser, also through a tunnel of ssh -L; so the exporter refuses other host names on
// loopback.
func TestOnlyThisHostsNamesOnLoopback(t *testing.T) {
	r := newRig(t, world())
	s := server()
	s.Host, s.AllowedHosts = "c.example", []string{"backup.intern"}
	h := s.Handler(r.Store)
	ask := func(local net.Addr, host, path string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, local)))
		return w
	}
	loopback, socket := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UnixAddr{Name: "/run/x"}
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:10191": 200, "localhost.:8080": 200, "127.0.0.1": 200, "127.0.0.1:9000": 200, "[::1]:10191": 200, "[::1]": 200,
		"192.0.2.7:10191": 200, "c.example:10191": 200, "backup.intern": 200, "": 200,
		"evil.example": 403, "evil.example:10191": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "c.example.evil:1": 403,
		"x.localhost": 403, "1.2.3": 403, "[evil]": 403,
	} {
		for _, path := range []string{"/", "/api/v1/disks", "/page/style.css"} {
			w := ask(loopback, host, path)
			assert.Equal(t, want == 403, w.Code == 403, "%s of %q: %d", path, host, w.Code)
			if want == 403 {
				assert.Contains(t, w.Body.String(), "--web.allowed-host")
				assert.NotContains(t, w.Body.String(), "vm-100")
			}
		}
	}
	assert.Equal(t, 200, ask(socket, "evil.example", "/").Code, "no browser comes there")
	assert.Equal(t, 403, ask(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "localhost", "/").Code, "a name is not an address")
}

// If the web configuration requires certificates, clients may still show none: a server that was
// started without TLS serves plain HTTP even if the file changes afterwards. Only a request over
// TLS with a certificate counts as authenticated.
func TestACertificateIsShown(t *testing.T) {
	r := newRig(t, world())
	s := server()
	s.WebConfig = filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(s.WebConfig, []byte("tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n"), 0o600))
	h := s.Handler(r.Store)
	for name, c := range map[string]struct {
		state  *tls.ConnectionState
		status int
	}{
		"plain HTTP":         {nil, 403},
		"TLS alone":          {&tls.ConnectionState{}, 403},
		"not verified":       {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, 403},
		"a good certificate": {&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}, 200},
	} {
		request := httptest.NewRequest(http.MethodGet, "/api/v1/disks", nil)
		request.TLS = c.state
		request.SetBasicAuth("a", "b") // this server requires no password
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request.WithContext(context.WithValue(request.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})))
		assert.Equal(t, c.status, w.Code, name)
	}
}
