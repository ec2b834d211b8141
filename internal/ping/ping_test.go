package ping

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
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
	mux.Handle("/away/secret", http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
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
		"post":                 {server.URL + "/secret", "", []string{"POST  what"}, ""},
		"token":                {server.URL + "/secret", "t", []string{"POST Bearer t what"}, ""},
		"takes only a get":     {server.URL + "/push/secret?status=up", "", []string{"GET status=up"}, ""},
		"redirects here":       {server.URL + "/here/secret", "", []string{"POST  what"}, ""},
		"redirects elsewhere":  {server.URL + "/away/secret", "t", nil, "another host"},
		"redirects for ever":   {server.URL + "/round/secret", "", nil, "too often"},
		"does not work":        {server.URL + "/broken/secret", "", nil, "the server answers 500 Internal Server Error"},
		"is down":              {dead.URL + "/secret", "", nil, "refused"},
		"is no URL":            {"http://a b/secret", "", nil, "not a URL"},
		"has no such protocol": {"gopher://a/secret", "", nil, "unsupported protocol"},
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

// A server that hangs does not delay Send beyond the given time.
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
