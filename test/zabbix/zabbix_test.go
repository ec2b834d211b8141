//go:build zabbix

// Package zabbix lets real Zabbix servers import the template of deploy/zabbix, and raise and
// clear an event of a disk: make test-zabbix. Go builds it with the tag zabbix alone.
package zabbix

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var suite = flag.String("suite", "bookworm", "whose Zabbix: bookworm has 6.0, trixie 7.0")

// server is a Zabbix that runs as long as the test.
type server struct {
	t    *testing.T
	ctx  context.Context
	api  string
	auth string
}

// newServer starts one and waits until one can log in.
func newServer(t *testing.T) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute) // its files may have to be built
	t.Cleanup(cancel)
	port := freePort(t)
	serve := exec.Command("./serve", *suite, fmt.Sprint(port))
	serve.Stderr = os.Stderr
	serve.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	require.NoError(t, serve.Start())
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	t.Cleanup(func() {
		_ = serve.Process.Kill() // what it started ends with it
		t.Log("the server has ended:", <-ended)
	})
	s := &server{t: t, ctx: ctx, api: fmt.Sprintf("http://127.0.0.1:%d/api_jsonrpc.php", port)}
	s.until("login", func() bool {
		select {
		case err := <-ended:
			ended <- err
			require.Fail(t, "the server has ended", "%v", err)
		default:
		}
		err := s.call("user.login", map[string]any{"username": "Admin", "password": "zabbix"}, &s.auth)
		return err == nil
	})
	t.Logf("the server answers after %s", time.Since(began).Round(time.Second))
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// until waits for what Zabbix does by its own clock.
func (s *server) until(what string, reached func() bool) {
	s.t.Helper()
	for !reached() {
		require.NoError(s.t, s.ctx.Err(), what)
		time.Sleep(500 * time.Millisecond)
	}
}

// call calls the API and keeps its result.
func (s *server) call(method string, params, result any) error {
	request := map[string]any{"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
	if s.auth != "" {
		request["auth"] = s.auth
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	response, err := http.Post(s.api, "application/json-rpc", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", method, answer.Error)
	}
	return json.Unmarshal(answer.Result, result)
}

func (s *server) must(method string, params, result any) {
	s.t.Helper()
	require.NoError(s.t, s.call(method, params, result))
}

// host makes a host of the template, whose exporter is at the address.
func (s *server) host(template, address string) {
	s.t.Helper()
	var groups, templates []map[string]string
	s.must("hostgroup.get", map[string]any{"output": []string{"groupid"}, "limit": 1}, &groups)
	s.must("template.get", map[string]any{"output": []string{"templateid"}, "filter": map[string]any{"host": template}}, &templates)
	require.Len(s.t, templates, 1)
	var made any
	s.must("host.create", map[string]any{
		"host": "c", "groups": []any{map[string]string{"groupid": groups[0]["groupid"]}},
		"templates": []any{map[string]string{"templateid": templates[0]["templateid"]}},
		"macros":    []any{map[string]string{"macro": "{$SNAPWATCH.URL}", "value": address}},
	}, &made)
}

// problems are the events that are open, by name.
func (s *server) problems() []string {
	s.t.Helper()
	var all []struct{ Name string }
	s.must("problem.get", map[string]any{"output": []string{"name"}}, &all)
	var names []string
	for _, p := range all {
		if strings.HasPrefix(p.Name, "Snapwatch: ") {
			names = append(names, p.Name)
		}
	}
	return names
}

// TestTemplate: the import takes the template as it is, without a word of what it left out;
// pools, guests and disks are discovered; a disk that is stale is one event, and none when a
// snapshot has arrived.
func TestTemplate(t *testing.T) {
	served, err := os.ReadFile("../../exporter/testdata/metrics.prom")
	require.NoError(t, err)
	const stale = "tank/b/vm-103-disk-0"
	var mended atomic.Bool
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := fmt.Sprint(time.Now().Unix())
		for line := range strings.Lines(string(served)) {
			switch {
			case strings.HasPrefix(line, "snapwatch_time_seconds "):
				line = "snapwatch_time_seconds " + now + "\n"
			case mended.Load() && strings.HasPrefix(line, "snapwatch_disk_state{") && strings.Contains(line, stale):
				line = line[:strings.LastIndex(line, " ")] + map[bool]string{true: " 1\n", false: " 0\n"}[strings.Contains(line, `state="fresh"`)]
			}
			_, _ = w.Write([]byte(line))
		}
	}))
	defer exporter.Close()

	s := newServer(t)
	template, err := os.ReadFile("../../deploy/zabbix/snapwatch.yaml")
	require.NoError(t, err)
	all := map[string]bool{"createMissing": true, "updateExisting": true}
	var done bool
	rules := map[string]any{"templates": all, "items": all, "triggers": all, "discoveryRules": all}
	if *suite == "bookworm" {
		rules["groups"] = all
	} else {
		rules["template_groups"] = all
	}
	s.must("configuration.import", map[string]any{"format": "yaml", "source": string(template), "rules": rules}, &done)
	require.True(t, done)
	s.host("Snapwatch by HTTP", exporter.URL)

	var items []struct{ Name, Error string }
	s.until("all disks", func() bool {
		s.must("item.get", map[string]any{"output": []string{"name", "error"}, "host": "c", "search": map[string]string{"key_": "snapwatch.disk.state"}}, &items)
		return len(items) == 4
	})
	s.must("item.get", map[string]any{"output": []string{"name", "error"}, "host": "c"}, &items)
	for _, i := range items {
		assert.Empty(t, i.Error, i.Name)
	}
	name := "Snapwatch: " + stale + " has no fresh snapshot"
	s.until("it alone", func() bool {
		open := s.problems()
		return strings.Contains(strings.Join(open, "\n")+"\n", name+"\n")
	})
	open := s.problems()
	mended.Store(true)
	s.until("its end", func() bool { return !strings.Contains(strings.Join(s.problems(), "\n"), stale) })
	t.Logf("raised %q, and left %q", open, s.problems())
	assert.NotContains(t, open, name+" (warning)", "one fault is one event")
}
