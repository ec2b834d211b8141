//go:build e2e

// Package site_test tests, in the lab's machine, that sites behave as package site describes. Build
// the tests by:
//
//	CGO_ENABLED=0 go build -o JOB/standin ./test/standin
//	CGO_ENABLED=0 go test -c -tags e2e -o JOB/site.test ./test/site
//
// Write a script JOB/run that starts ./site.test, and start the machine by test/lab/boot JOB.
package site_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"snapwatch/test/site"
)

// mustReturn returns a function that takes the results of a call, ends the test if the call
// returned an error, and returns the call's value.
func mustReturn[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// lab contains three sites: A and B are nodes of a cluster, and C is not a Proxmox host.
type lab struct{ a, b, c *site.Site }

// TestSites starts the three sites once for all its subtests.
func TestSites(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	check(t, site.NewPool(ctx, "ta", 512))
	defer func() { check(t, site.DestroyPool(context.Background(), "ta")) }()
	var l lab
	for s, config := range map[**site.Site]site.Config{
		&l.a: {Name: "A", Node: "pve-a", Cluster: "pve", Pool: "ta", Address: "192.0.2.1/24", Bin: map[string]string{"greet": "#!/bin/sh\necho hello $1\n"}},
		&l.b: {Name: "B", Node: "pve-b", Cluster: "pve", Pool: "tb", Address: "192.0.2.2/24", Hostname: "pve-b.example.org", Uptime: time.Hour},
		&l.c: {Name: "C", Pool: "tc", Address: "192.0.2.3/24", Env: []string{"TZ=Asia/Kolkata"}},
	} {
		started, err := site.Start(ctx, config)
		check(t, err)
		defer func() { check(t, started.Close()) }()
		*s = started
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, lab)
	}{
		{"identity", testIdentity}, {"files", testFiles}, {"processes", testProcesses}, {"network", testNetwork},
		{"pool", testPool}, {"guests", testGuests}, {"pvesh's faults", testFaults}, {"flock", testFlock},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, ctx, l) })
	}
}

func testIdentity(t *testing.T, ctx context.Context, l lab) {
	output := func(s *site.Site, argv ...string) string {
		t.Helper()
		return strings.TrimSpace(mustReturn[string](t)(s.Output(ctx, argv...)))
	}
	equal(t, "A's name", output(l.a, "hostname"), "pve-a")
	equal(t, "B's name", output(l.b, "hostname"), "pve-b.example.org")
	equal(t, "C's name", output(l.c, "hostname"), "C")
	equal(t, "A's zone", output(l.a, "date", "+%Z"), "UTC")
	equal(t, "C's zone", output(l.c, "date", "+%Z"), "IST")
	equal(t, "A's node", output(l.a, "readlink", "/etc/pve/local"), "nodes/pve-a")
	equal(t, "B's node", output(l.b, "readlink", "/etc/pve/local"), "nodes/pve-b")
	equal(t, "A's nodes", output(l.a, "ls", "/etc/pve/nodes"), "pve-a\npve-b")
	equal(t, "C's /etc/pve", mustReturn[site.Result](t)(l.c.Run(ctx, "test", "-e", "/etc/pve")).Code, 1)
	equal(t, "C's pvesh", mustReturn[site.Result](t)(l.c.Run(ctx, "sh", "-c", "command -v pvesh")).Code, 127)

	if _, err := os.Stat("/run/systemd/system"); err == nil {
		equal(t, "cron", output(l.a, "systemctl", "show", "-p", "ActiveState", "cron.service"), "ActiveState=inactive")
	}
	up := func(s *site.Site) time.Duration {
		t.Helper()
		seconds, _, _ := strings.Cut(output(s, "cat", "/proc/uptime"), " ")
		return mustReturn[time.Duration](t)(time.ParseDuration(seconds + "s")).Truncate(time.Hour)
	}
	equal(t, "A's uptime", up(l.a), 24*time.Hour)
	equal(t, "B's uptime", up(l.b), time.Hour)
	equal(t, "/var/run", output(l.a, "readlink", "-f", "/var/run/qemu-server"), "/run/qemu-server")
}

func testFiles(t *testing.T, ctx context.Context, l lab) {
	for _, path := range []string{"/etc/snapwatch/config.yaml", "/etc/cron.d/snapwatch", "/run/lock/x", "/var/lib/snapwatch/x", "/run/qemu-server/1.pid", "/usr/bin/x"} {
		check(t, l.a.WriteFile(path, "A's own\n"))
		equal(t, path, mustReturn[string](t)(l.a.ReadFile(path)), "A's own\n")
		for _, other := range []*site.Site{l.b, l.c} {
			if _, err := other.ReadFile(path); !os.IsNotExist(err) {
				t.Errorf("%s of A is seen at %s: %v", path, other.Name, err)
			}
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s of A is seen outside: %v", path, err)
		}
		check(t, l.a.Remove(path))
	}
}

func testProcesses(t *testing.T, ctx context.Context, l lab) {
	equal(t, "A's script", mustReturn[string](t)(l.a.Output(ctx, "greet", "you")), "hello you\n")
	check(t, l.a.Install("zfs", "#!/bin/sh\necho no zfs today >&2\nexit 7\n"))
	r := mustReturn[site.Result](t)(l.a.Run(ctx, "zfs", "version"))
	equal(t, "B's zfs meanwhile", mustReturn[site.Result](t)(l.b.Run(ctx, "zfs", "version")).Code, 0)
	equal(t, "A's wrapper", r, site.Result{Stderr: "no zfs today\n", Code: 7})
	check(t, l.a.Remove(site.BinDir+"/zfs"))
	equal(t, "A's zfs", mustReturn[site.Result](t)(l.a.Run(ctx, "zfs", "version")).Code, 0)
	equal(t, "nobody", succeeded(t, mustReturn[site.Result](t)(l.a.RunAs(ctx, "nobody", "id", "-un"))), "nobody")
}

func succeeded(t *testing.T, r site.Result) string {
	t.Helper()
	if r.Code != 0 {
		t.Errorf("exit status %d: %s", r.Code, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

func testNetwork(t *testing.T, ctx context.Context, l lab) {
	// The test's HTTP server reads the request before it closes the connection: a close with unread
	// input would reset the connection.
	server := mustReturn[*site.Process](t)(l.a.Start(ctx, "perl", "-MIO::Socket::INET", "-e", `
		my $s = IO::Socket::INET->new(LocalPort => 9999, Listen => 1, ReuseAddr => 1) or die $!;
		$| = 1; print "listening\n";
		for (1..2) { my $c = $s->accept; 1 until <$c> =~ /^\r$/; print $c "HTTP/1.0 200 OK\r\n\r\nhello"; close $c }`))
	defer server.Kill()
	check(t, server.WaitFor(ctx, "listening"))
	equal(t, "from C", mustReturn[string](t)(l.c.Output(ctx, "curl", "-s", "http://192.0.2.1:9999/")), "hello")
	equal(t, "from itself", mustReturn[string](t)(l.a.Output(ctx, "curl", "-s", "http://127.0.0.1:9999/")), "hello")
	equal(t, "exit status", server.Wait().Code, 0)
	equal(t, "C's loopback", mustReturn[site.Result](t)(l.c.Run(ctx, "curl", "-s", "http://127.0.0.1:9999/")).Code, 7)
}

func testPool(t *testing.T, ctx context.Context, l lab) {
	const disk = "ta/data/vm-1-disk-0"
	check(t, site.CreateZvol(ctx, disk, 8))
	for _, argv := range [][]string{
		{"zfs", "snapshot", disk + "@one"}, {"zfs", "snapshot", disk + "@two"},
		{"zfs", "bookmark", disk + "@one", disk + "#one"}, {"zfs", "set", "label:running=pve-a", disk},
	} {
		mustReturn[string](t)(l.a.Output(ctx, argv...))
	}
	snapshots := mustReturn[[]site.Snapshot](t)(site.Snapshots(ctx, disk))
	bookmarks := mustReturn[[]site.Snapshot](t)(site.Bookmarks(ctx, disk))
	if len(snapshots) != 2 || len(bookmarks) != 1 || snapshots[0] != bookmarks[0] || snapshots[1].Name != "two" ||
		snapshots[1].CreateTXG <= snapshots[0].CreateTXG || time.Since(snapshots[1].Creation) > time.Minute {
		t.Errorf("snapshots %v, bookmarks %v", snapshots, bookmarks)
	}
	value, source, err := site.Property(ctx, disk, "label:running")
	check(t, err)
	equal(t, "label", value+" "+source, "pve-a local")
	// Any user of a site may list datasets.
	r := mustReturn[site.Result](t)(l.a.RunAs(ctx, "nobody", "zfs", "list", "-H", "-o", "name", disk))
	equal(t, "nobody's list", succeeded(t, r), disk)
}

func TestClosedSitesLeaveNothing(t *testing.T) {
	ctx := t.Context()
	for range 2 {
		a, err := site.Start(ctx, site.Config{Name: "A", Node: "pve-a", Pool: "ta"})
		check(t, err)
		check(t, a.AddVM(100))
		check(t, a.StartGuest(ctx, 100))
		check(t, a.Close())
	}
	if entries, err := os.ReadDir("/run/sites"); err != nil || len(entries) > 0 {
		t.Errorf("/run/sites holds %v, %v", entries, err)
	}
}
