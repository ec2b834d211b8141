//go:build zabbix

// Package zabbix tests the template of deploy/zabbix in real Zabbix servers (make test-zabbix): the
// server imports the template, raises an event for each of several faults, and ends one event. Go
// builds package zabbix only with the build tag zabbix.
package zabbix

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var suite = flag.String("suite", "bookworm", "the Debian suite of the server: bookworm has Zabbix 6.0, trixie 7.0")

// server is a Zabbix server that runs until the end of the test.
type server struct {
	t    *testing.T
	ctx  context.Context
	api  string
	auth string
}

// newServer starts a Zabbix server and waits until a login succeeds.
func newServer(t *testing.T) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute) // building the server's files may take long
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
		_ = serve.Process.Kill() // all processes of the server end with it
		t.Log("the server has ended:", <-ended)
	})
	s := &server{t: t, ctx: ctx, api: fmt.Sprintf("http://127.0.0.1:%d/api_jsonrpc.php", port)}
	s.waitUntil("login", func() bool {
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

// waitUntil polls the function in the argument reached until this function returns true, because no
// event announces when Zabbix has done its work.
func (s *server) waitUntil(what string, reached func() bool) {
	s.t.Helper()
	for !reached() {
		require.NoError(s.t, s.ctx.Err(), what)
		time.Sleep(500 * time.Millisecond)
	}
}

// call calls a method of Zabbix's API and decodes the answer into result.
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

// host creates a host in Zabbix with the template and with the address of the host's exporter,
// and returns the host's id.
func (s *server) host(template, address string) string {
	s.t.Helper()
	var groups, templates []map[string]string
	s.must("hostgroup.get", map[string]any{"output": []string{"groupid"}, "limit": 1}, &groups)
	s.must("template.get", map[string]any{"output": []string{"templateid"}, "filter": map[string]any{"host": template}}, &templates)
	require.Len(s.t, templates, 1)
	var made struct{ HostIDs []string }
	s.must("host.create", map[string]any{
		"host": "c", "groups": []any{map[string]string{"groupid": groups[0]["groupid"]}},
		"templates": []any{map[string]string{"templateid": templates[0]["templateid"]}},
		"macros":    []any{map[string]string{"macro": "{$SNAPWATCH.URL}", "value": address}},
	}, &made)
	return made.HostIDs[0]
}

// problems returns the names of all open events in Zabbix.
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

// faulty returns the metrics of an exporter with many faults at the same time. Each fault in the
// returned metrics belongs to a different alert.
func faulty(t *testing.T) string {
	t.Helper()
	served, err := os.ReadFile("../../exporter/testdata/metrics.prom")
	require.NoError(t, err)
	text := string(served)
	for _, is := range []struct{ family, of, state string }{
		{"snapwatch_disk_state{", `disk="subvol-101-disk-0"`, "damaged"},
		{"snapwatch_disk_state{", `disk="vm-102-disk-0"`, "unreadable"},
		{"snapwatch_guest_state{", `vmid="101"`, "damaged"},
		{"snapwatch_pool_state{", `pool="rpool"`, "full"},
		{"snapwatch_pool_state{", `pool="tank"`, "errors"},
	} {
		text = become(text, is.family, is.of, is.state)
	}
	return strings.NewReplacer(
		`snapwatch_pool_state{pool="tank",state="degraded"} 0`, `snapwatch_pool_state{pool="tank",state="degraded"} 1`,
		`snapwatch_pool_state{pool="tank",state="full"} 0`, `snapwatch_pool_state{pool="tank",state="full"} 1`,
		`snapwatch_pool_status{pool="rpool",state="full"} 0`, `snapwatch_pool_status{pool="rpool",state="full"} 1`,
		`snapwatch_pool_status{pool="tank",state="degraded"} 0`, `snapwatch_pool_status{pool="tank",state="degraded"} 1`,
		`snapwatch_pool_status{pool="tank",state="errors"} 0`, `snapwatch_pool_status{pool="tank",state="errors"} 2`,
		`snapwatch_pool_status{pool="tank",state="full"} 0`, `snapwatch_pool_status{pool="tank",state="full"} 1`,
	).Replace(text) + `snapwatch_owner_answers{node="pve1"} 0
snapwatch_disk_comparison{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",outcome="diverged",pool="tank",vmid="100"} 1
snapwatch_disk_comparison{dataset="tank/b/vm-102-disk-0",disk="vm-102-disk-0",outcome="two owners",pool="tank",vmid="102"} 1
`
}

// become returns an exporter's metrics after a disk, guest or pool has changed to the given state.
// The argument `of` is the part of a line's labels that names the disk, guest or pool. Of the lines
// that have this part, become sets the line with the given state to 1, and all other lines to 0.
func become(text, family, of, state string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, family) && strings.Contains(line, of) {
			line = line[:strings.LastIndex(line, " ")] + map[bool]string{true: " 1\n", false: " 0\n"}[strings.Contains(line, fmt.Sprintf("state=%q", state))]
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestTemplate imports the template without any error. After the import, Zabbix discovers pools,
// owners, guests and disks. Zabbix raises one event for each fault, and ends the event of a stale
// disk when a snapshot has arrived. Most hosts ask no owner, so an empty discovery of owners must
// count as a success.
func TestTemplate(t *testing.T) {
	const stale = "tank/b/vm-103-disk-0"
	served := faulty(t)
	var mended atomic.Bool
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := served
		if mended.Load() {
			text = become(text, "snapwatch_disk_state{", stale, "fresh")
			text = strings.Replace(text, "snapwatch_owner_answers{node=\"pve1\"} 0\n", "", 1)
		}
		now := fmt.Sprintf("\nsnapwatch_time_seconds %d\n", time.Now().Unix())
		_, _ = io.WriteString(w, regexp.MustCompile(`\nsnapwatch_time_seconds .*\n`).ReplaceAllString(text, now))
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
	host := s.host("Snapwatch by HTTP", exporter.URL)

	type item struct {
		Name, Error string
		Discovery   struct {
			Lost string `json:"ts_delete"`
		} `json:"itemDiscovery"`
	}
	var items []item
	withoutErrors := func(method string) {
		t.Helper()
		s.must(method, map[string]any{"output": []string{"name", "error"}, "host": "c"}, &items)
		for _, i := range items {
			assert.Empty(t, i.Error, i.Name)
		}
	}
	s.waitUntil("all disks", func() bool {
		s.must("item.get", map[string]any{"output": []string{"name", "error"}, "host": "c", "search": map[string]string{"key_": "snapwatch.disk.state"}}, &items)
		return len(items) == 4
	})
	withoutErrors("item.get")
	withoutErrors("discoveryrule.get")
	name := "Snapwatch: " + stale + " has no fresh snapshot"
	faults := []string{
		name,
		"Snapwatch: tank/a/subvol-101-disk-0 is damaged",
		"Snapwatch: tank/a/vm-100-disk-0 has diverged from its owner",
		"Snapwatch: tank/b/vm-102-disk-0 cannot be compared: two owners",
		"Snapwatch: tank/b/vm-102-disk-0 cannot be read (warning)",
		"Snapwatch: owner pve1 does not answer (warning)",
		"Snapwatch: pool rpool is nearly full (warning)",
		"Snapwatch: pool tank has errors",
		"Snapwatch: pool tank is nearly full (warning)",
		"Snapwatch: pool tank lacks a device",
	}
	var open []string
	defer func() { t.Logf("raised %q", open) }()
	s.waitUntil("an event for each fault", func() bool {
		open = s.problems()
		return !slices.ContainsFunc(faults, func(fault string) bool { return !slices.Contains(open, fault) })
	})
	mended.Store(true)
	s.waitUntil("the end of the event", func() bool { return !strings.Contains(strings.Join(s.problems(), "\n"), stale) })
	t.Logf("still open %q", s.problems())
	var made any
	s.must("usermacro.create", map[string]any{"hostid": host, "macro": `{$SNAPWATCH.UNREADABLE:"tank/b/vm-102-disk-0"}`, "value": "1m"}, &made)
	s.waitUntil("the critical event of a disk that cannot be read", func() bool {
		return slices.Contains(s.problems(), "Snapwatch: tank/b/vm-102-disk-0 cannot be read")
	})
	s.waitUntil("the removal of an owner", func() bool {
		s.must("item.get", map[string]any{"output": []string{"name"}, "host": "c", "search": map[string]string{"key_": "snapwatch.owner.answers"}, "selectItemDiscovery": []string{"ts_delete"}}, &items)
		return len(items) == 0 || items[0].Discovery.Lost != "0"
	})
	withoutErrors("item.get")
	withoutErrors("discoveryrule.get")
	assert.ElementsMatch(t, faults, open, "each fault raises exactly one event")
}
