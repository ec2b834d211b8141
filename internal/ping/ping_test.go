package ping

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSend(t *testing.T) {
	var got []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got = append(got, "elsewhere") }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/secret", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.Header.Get("Authorization")+" "+string(body))
	})
	mux.HandleFunc("GET /push/secret", func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Method+" "+r.URL.RawQuery) })
	mux.Handle("/away/secret", http.RedirectHandler(strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect))
	mux.HandleFunc("/safe/secret", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	})
	mux.HandleFunc("/port/secret", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/secret", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/unchanged/secret", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.Handle("/here/secret", http.RedirectHandler("/secret", http.StatusTemporaryRedirect))
	mux.Handle("/round/secret", http.RedirectHandler("/round/secret", http.StatusTemporaryRedirect))
	mux.HandleFunc("/broken/secret", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	server := httptest.NewServer(mux)
	defer server.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	for name, test := range map[string]struct {
		address, token string
		want           []string
		err            string
	}{
		"post":                  {server.URL + "/secret", "", []string{"POST  what"}, ""},
		"token":                 {server.URL + "/secret", "t", []string{"POST Bearer t what"}, ""},
		"takes only a get":      {server.URL + "/push/secret?status=up", "", []string{"GET status=up"}, ""},
		"redirects here":        {server.URL + "/here/secret", "", []string{"POST  what"}, ""},
		"redirects elsewhere":   {server.URL + "/away/secret", "t", nil, "the server redirects to another host"},
		"redirects to https":    {server.URL + "/safe/secret", "t", nil, "the server redirects from http to https: begin the address with https"},
		"redirects to a port":   {server.URL + "/port/secret", "t", nil, "the server redirects to another port"},
		"answers without sense": {server.URL + "/unchanged/secret", "", nil, "the server answers 304 Not Modified"},
		"redirects for ever":    {server.URL + "/round/secret", "", nil, "the server redirects too often"},
		"does not work":         {server.URL + "/broken/secret", "", nil, "the server answers 500 Internal Server Error"},
		"is down":               {dead.URL + "/secret", "", nil, "refused"},
		"is not a URL":          {"http://a b/secret", "", nil, "not a URL"},
		"has no such protocol":  {"gopher://a/secret", "", nil, "unsupported protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			got = nil
			err := Send(t.Context(), test.address, test.token, "what")
			assert.Equal(t, test.want, got)
			if test.err == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.err)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

// A ping server that hangs does not delay Send beyond the given timeout.
func TestSendHangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := Send(ctx, server.URL+"/secret", "", "what")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotContains(t, err.Error(), "secret")
}
