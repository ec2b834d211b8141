package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
)

// pingServer is a fake dead man's switch that records the paths and the bodies of all requests.
type pingServer struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newPingServer(t *testing.T) *pingServer {
	s := &pingServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, r.URL.Path+" "+string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *pingServer) ping(run string) config.Ping {
	p := config.Ping{Run: run, Success: config.Secret(s.URL + "/good"), Failure: config.Secret(s.URL + "/bad")}
	if run != "check" {
		p.Start = config.Secret(s.URL + "/start")
	}
	return p
}

func TestPinged(t *testing.T) {
	for name, test := range map[string]struct {
		says string
		err  error
		want string
	}{
		"done":        {"all is well\n", nil, "/good "},
		"failed":      {"", errors.New("why"), "/bad why\n"},
		"said before": {"pool tank: why\n", &exit{code: 1}, "/bad pool tank: why\n"},
		"said both":   {"pool tank: why\n", &exit{2, errors.New("more")}, "/bad pool tank: why\nmore\n"},
		"silent":      {"", &exit{code: 2}, "/bad exit status 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newPingServer(t)
			began := make(chan struct{})
			hear := server.Config.Handler
			server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hear.ServeHTTP(w, r)
				if r.URL.Path == "/start" {
					close(began)
				}
			})
			err := withPing(&environment{Stdout: io.Discard, Stderr: io.Discard}, []config.Ping{server.ping("snap"), server.ping("prune")}, "snap", func(env *environment) error {
				<-began
				_, _ = io.WriteString(env.Stderr, test.says)
				return test.err
			})
			assert.Equal(t, test.err, err)
			assert.Equal(t, []string{"/start ", test.want}, server.got)
		})
	}
}

// A ping server that is down, hangs or redirects does not change the result of a run. A ping server
// that hangs at the ping for the start of a run does not delay the end of this run.
func TestNoPingChangesTheResult(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			<-release
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	defer close(release)
	for name, p := range map[string]config.Ping{
		"is down":   {Run: "snap", Start: "http://127.0.0.1:1/hush", Success: "http://127.0.0.1:1/hush"},
		"hangs":     {Run: "snap", Start: config.Secret(server.URL + "/hangs"), Success: config.Secret(server.URL + "/good")},
		"redirects": {Run: "snap", Start: config.Secret(server.URL + "/away"), Success: config.Secret(server.URL + "/away")},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			assert.NoError(t, withPing(&environment{Stdout: io.Discard, Stderr: io.Discard}, []config.Ping{p}, "snap", func(*environment) error { return nil }))
			assert.Less(t, time.Since(begun), pingTime)
		})
	}
}

func TestCheckPings(t *testing.T) {
	server := newPingServer(t)
	s := newSite(t, vm(100, "hourly", time.Hour))
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("ping:\n  - {run: check, success: '"+server.URL+"/good', failure: '"+server.URL+"/bad'}\n"), 0o600))
	status, _ := s.check()
	assert.Equal(t, 0, status)
	s.set(vm(100, "hourly", 7*time.Hour))
	status, _ = s.check()
	assert.Equal(t, 2, status)
	assert.Equal(t, []string{"/good ", "/bad " + s.out.String()}, server.got)
	server.Close()
	s.Typed = true
	status, _ = s.check()
	assert.Equal(t, 2, status, "whatever becomes of the ping")
	assert.Contains(t, s.errors.String(), "snapwatch: no ping to 127.0.0.1: ")
	assert.NotContains(t, s.errors.String(), "/bad")
}

// If a check covers only some disks, or has limits from the command line, it can be OK although a
// disk has a fault, so such a check sends no ping.
func TestOnlyTheWholeCheckPings(t *testing.T) {
	server := newPingServer(t)
	s := newSite(t, vm(100, "hourly", 7*time.Hour), vm(101, "hourly", time.Hour))
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("ping: [{run: check, success: '"+server.URL+"/good', failure: '"+server.URL+"/bad'}]\n"), 0o600))
	for want, all := range map[int][][]string{
		0: {{"--vmid", "101"}, {"--guest", "101"}, {"--disk", "vm-101-*"}, {"-w", "30d", "-c", "30d"}},
		2: {{"--pool", "tank"}, {"-w", "1h"}, {"-c", "3h"}},
	} {
		for _, args := range all {
			status, _ := s.check(args...)
			require.Equal(t, want, status, args)
		}
	}
	assert.Empty(t, server.got)
	status, _ := s.check("-v")
	require.Equal(t, 2, status)
	assert.Len(t, server.got, 1)
}

// A check ends within its timeout even if its ping hangs.
func TestCheckDoesNotWaitForItsPing(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	s := newSite(t, vm(100, "hourly", time.Hour))
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("ping: [{run: check, success: '"+server.URL+"'}]\n"), 0o600))
	begun := time.Now()
	status, _ := s.check("-t", "5s")
	assert.Equal(t, 0, status)
	assert.Less(t, time.Since(begun), 30*time.Second)
}

// If several pings hang at the end of a run, they delay the run for the same time as one ping that
// hangs.
func TestTheEndsPingsHaveOneTime(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	p := config.Ping{Run: "snap", Failure: config.Secret(server.URL)}
	said := &head{}
	errs := &head{}
	begun := time.Now()
	sendEnd(&environment{Typed: true, Stderr: errs}, []config.Ping{p, p, p}, said, errors.New("why"), 50*time.Millisecond)
	assert.Less(t, time.Since(begun), 5*time.Second)
	assert.Equal(t, 3, strings.Count(errs.text.String(), "context deadline exceeded"))
}
