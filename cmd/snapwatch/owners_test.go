package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/exporter"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// answering returns a fake exporter of a node. The exporter's answer for every disk is the argument
// `say`.
func answering(t *testing.T, say checker.ComparedDisk) *httptest.Server {
	t.Helper()
	return node(t, nil, func(checker.CompareDisk) checker.ComparedDisk { return say })
}

// node returns a fake exporter of a node that has the given guests. The argument say is a function
// that returns the exporter's answer for a disk, without the disk's name.
func node(t *testing.T, guests []checker.OwnedGuest, say func(checker.CompareDisk) checker.ComparedDisk) *httptest.Server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		request, err := checker.ReadCompareRequest(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := checker.NewCompareAnswer(noon)
		answer.Guests = guests
		for _, d := range request.Disks {
			c := say(d)
			c.Disk = d.Disk
			answer.Disks = append(answer.Disks, c)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// In this test, replication dies while a guest is off, and then the guest starts again. The
// replica's newest snapshot still ends in _stopped, so the replica alone cannot notice that
// replication died. The owner knows that the guest runs. After a failover, the owner is a different
// node.
func TestCheckSeesThatReplicationDiedWhileTheGuestWasOff(t *testing.T) {
	s := newSite(t, vm(100, "stopped", 72*time.Hour))
	status, first := s.check()
	require.Equal(t, 0, status)
	require.Contains(t, first, "OK: 0 of 1 guests whole, 0 of 1 disks fresh; 1 stopped (unproven)")

	ahead := &checker.SnapshotRef{Name: "autosnap_2026-03-29_12:00:00_hourly", GUID: 2, Creation: noon}
	owner := answering(t, checker.ComparedDisk{Owned: checker.Owned, Dataset: "rpool/vm-100-disk-0", Newest: ahead, Presence: checker.AsBookmark, PresenceGUID: 1})
	other := answering(t, checker.ComparedDisk{Owned: checker.NotOwned, ConfiguredOn: "pve2"})
	for _, urls := range []string{owner.URL, owner.URL + "," + other.URL, other.URL + "," + owner.URL} {
		status, first = s.check("--owners", urls)
		assert.Equal(t, 2, status)
		assert.Contains(t, first, "CRITICAL: 1 of 1 disks lagging")
		assert.Contains(t, s.out.String(), "CRITICAL tank/vm-100-disk-0 stopped, lagging 3d (limit 6h)")
	}
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("owners: {urls: ["+owner.URL+"]}\n"), 0o600))
	status, _ = s.check()
	assert.Equal(t, 2, status, "the configuration may name the nodes")
	status, _ = s.check("--owners", other.URL)
	assert.Equal(t, 3, status, "flags replace them")
}

// In this test, the guests of a node were stopped, snap was removed from cron, and then the guests
// were started. The node and the copy have the same newest snapshots, but the node's answer says
// that no program starts snap.
func TestCheckSaysThatNothingStartsSnap(t *testing.T) {
	s := newSite(t, vm(100, "stopped", 72*time.Hour))
	newest := &checker.SnapshotRef{Name: "autosnap_2026-03-26_12:00:00_stopped", GUID: 1, Creation: noon.Add(-72 * time.Hour)}
	since := noon.Add(-10 * time.Minute)
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		request, err := checker.ReadCompareRequest(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := checker.NewCompareAnswer(noon)
		answer.Unregistered = true
		for _, d := range request.Disks {
			newest.Name, newest.GUID = d.Newest.Name, d.Newest.GUID
			answer.Disks = append(answer.Disks, checker.ComparedDisk{
				Disk: d.Disk, Owned: checker.Owned, Dataset: "rpool/vm-100-disk-0", Newest: newest,
				Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID, Alive: true, AliveSince: &since,
			})
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	status, first := s.check("--owners", node.URL)
	assert.Equal(t, 1, status)
	assert.Contains(t, first, "WARNING: nothing starts snap on 127.0.0.1:")
	assert.NotContains(t, first, "1 stopped", "its owner says that it is alive")
	since = noon.Add(-7 * time.Hour)
	status, first = s.check("--owners", node.URL)
	assert.Equal(t, 2, status)
	assert.Contains(t, first, "1 of 1 disks stale")
}

// check remembers yesterday's disks, so check reports the missing copy of a disk that the owner had
// yesterday and no longer has today.
func TestCheckSaysWhatNoOwnerHasAnyMore(t *testing.T) {
	s := newSite(t, vm(100, "stopped", time.Hour))
	disks := []string{"rpool/data/vm-100-disk-0", "rpool/data/vm-101-disk-0"}
	clock := noon
	s.Now = func() time.Time { return clock }
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		request, err := checker.ReadCompareRequest(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := checker.NewCompareAnswer(clock)
		for _, d := range request.Disks {
			answer.Disks = append(answer.Disks, checker.ComparedDisk{Disk: d.Disk, Owned: checker.Owned, Dataset: disks[0], Newest: &d.Newest, Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID})
		}
		for _, d := range disks {
			vmid, _, _ := zfs.ParseDiskName(zfs.Base(d))
			answer.Guests = append(answer.Guests, checker.OwnedGuest{VMID: vmid, Disks: []checker.OwnedDisk{{Dataset: d, Created: clock, Newest: clock}}})
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	status, _ := s.check("--owners", node.URL)
	assert.Zero(t, status, s.out.String())
	disks = disks[:1]
	clock = noon.Add(15 * time.Minute)
	status, _ = s.check("--owners", node.URL)
	assert.Zero(t, status, s.out.String())
	clock = noon.Add(30 * time.Minute)
	status, _ = s.check("--owners", node.URL)
	assert.Equal(t, 1, status)
	assert.Contains(t, s.out.String(), "no owner has these disks any more, so a missing copy of them will not be reported: rpool/data/vm-101-disk-0 of guest 101 on 127.0.0.1:")
	clock = noon.Add(25 * time.Hour)
	status, _ = s.check("--owners", node.URL)
	assert.Zero(t, status, s.out.String())
}

func TestCheckComparesWithARealExporter(t *testing.T) {
	at := func(s *site) *httptest.Server {
		store := exporter.NewStore(exporter.Settings{
			Scanner:     scan.Scanner{Kstat: s.Kstat, LockDir: s.LockDir, Now: s.Now},
			Owners:      func() (pve.Owners, error) { return pve.Owners{Node: "pve1", Of: map[int]string{100: "pve1"}}, nil },
			ScanTimeout: time.Minute, MaxDataAge: time.Hour, Log: slog.New(slog.DiscardHandler),
		})
		live := httptest.NewServer(exporter.Server{MetricsPath: "/metrics", Log: slog.New(slog.DiscardHandler)}.Handler(store))
		t.Cleanup(live.Close)
		return live
	}
	// In this test, the replica and the owner use one fake zfs program. The owner's disk and the
	// replica's disk are in different pools.
	replica, own := vm(100, "stopped", 72*time.Hour), vm(100, "stopped", 72*time.Hour)
	own.Name, own.GUID = "rpool/data/vm-100-disk-0", 500
	s := newSite(t, replica, zfstest.Dataset{Name: "rpool", GUID: 3}, own)
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("sources: [{dataset: tank, origin: rpool/data, cluster: east}]\n"), 0o600))
	status, first := s.check("--pool", "tank", "--owners", at(s).URL)
	assert.Equal(t, 0, status, s.out.String())
	assert.Contains(t, first, "; 1 stopped |", "the owner has confirmed it")
	assert.Contains(t, first, "'unproven'=0;")
	s.check("--pool", "tank", "--format", "json", "--owners", at(s).URL)
	var doc checker.Document
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &doc))
	assert.True(t, doc.Disks[0].Compared.Proven)
	assert.Equal(t, "in sync", doc.Disks[0].Compared.Outcome)
}

func TestCheckAndNodesThatCannotBeAsked(t *testing.T) {
	behind := answering(t, checker.ComparedDisk{Owned: checker.NotOwned})
	never := make(chan struct{})
	hung := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-never:
		case <-r.Context().Done():
		}
	})
	redirect := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, behind.URL, http.StatusTemporaryRedirect)
	})
	say := func(text string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }).URL
	}
	huge := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 17<<20)) })
	one := `{"version":2,"future_field":true,"disks":[{"disk":"vm-100-disk-0","owned_here":%,"presence":"no"}]}`
	for name, c := range map[string]struct{ url, want string }{
		"nobody listens":  {"http://127.0.0.1:1", "connection refused"},
		"it hangs":        {hung.URL, "no answer in time"},
		"a redirect":      {redirect.URL, "307"},
		"too large":       {huge.URL, "larger than"},
		"no JSON":         {say("<html>"), "invalid character"},
		"cut":             {say(one[:40]), "unexpected end"},
		"another version": {say(`{"version":9}`), "version 9"},
		"too few":         {say(`{"version":2,"disks":[]}`), "the answer is about 0 disks"},
		"another disk":    {say(strings.Replace(strings.Replace(one, "vm-100", "vm-999", 1), "%", `"no"`, 1)), "the request was about vm-100-disk-0"},
		"no such word":    {say(strings.Replace(one, "%", `"perhaps"`, 1)), "is none of"},
		"no word":         {say(strings.Replace(one, "%", `true`, 1)), "cannot unmarshal"},
		"no snapshot":     {say(strings.Replace(one, "%", `"yes","newest":{"name":"x","guid":"1"}`, 1)), "not a managed snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, vm(100, "hourly", time.Hour), vm(101, "hourly", 7*time.Hour))
			// The timeout is long enough for a busy test machine. Only the test cases with a server that
			// hangs reach the timeout, and have a shorter one.
			limit := "30s"
			if c.url == hung.URL {
				limit = "3s"
			}
			status, first := s.check("-v", "--vmid", "100", "-t", limit, "--owners", c.url)
			assert.Equal(t, 3, status, s.out.String())
			assert.Contains(t, first, "UNKNOWN: 1 of 1 disks owner unreachable")
			assert.Contains(t, s.out.String(), c.want)
			status, _ = s.check("--owners", c.url, "-t", limit)
			assert.Equal(t, 2, status, "the local verdict stands")
		})
	}
	s := newSite(t, vm(100, "hourly", time.Hour))
	status, first := s.check("-t", "30s", "--owners", say(strings.Replace(one, "%", `"no"`, 1)))
	assert.Equal(t, 3, status)
	assert.Contains(t, first, "1 of 1 disks no owner", "fields of a newer owner are not an error; %s", s.out.String())
}

func TestCheckAsksTheOwnersThoughAPoolHangs(t *testing.T) {
	s := newSite(t, vm(100, "hourly", time.Hour))
	d := zfstest.Dataset{Name: "slow", GUID: 9}
	s.fake.Set(zfstest.World{
		Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}, vm(100, "hourly", time.Hour), d},
		Faults:   []zfstest.Fault{{Words: []string{"get", "slow"}, Hang: true}},
	})
	s.fake.Pool("slow", "ONLINE")
	same := vm(100, "hourly", time.Hour).Snapshots[0]
	owner := answering(t, checker.ComparedDisk{Owned: checker.Owned, Newest: &checker.SnapshotRef{Name: same.Name, GUID: same.GUID, Creation: time.Unix(same.Creation, 0)}})
	begun := time.Now()
	status, first := s.check("-vv", "-t", "6s", "--owners", owner.URL)
	assert.Equal(t, 3, status)
	assert.Contains(t, first, "pool slow unreadable")
	assert.Contains(t, s.out.String(), "in sync: the newest of 127.0.0.1")
	assert.Less(t, time.Since(begun), 12*time.Second)
}

func TestCheckLogsInAndKnowsWhomItAsks(t *testing.T) {
	asked := 0
	live := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, password, _ := r.BasicAuth()
		if user != "replica" || password != "secret word" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"version":2,"disks":[{"disk":"vm-100-disk-0","owned_here":"no","presence":"no"}]}`)
	}))
	live.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer live.Close()
	s := newSite(t, vm(100, "hourly", time.Hour))
	ca, password := s.fake.Path("ca.pem"), s.fake.Path("password")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: live.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(password, []byte("secret word\n"), 0o600))
	for name, c := range map[string]struct {
		args   string
		status int
		want   string
	}{
		"not trusted":      {"", 3, "certificate"},
		"no password":      {"--owners-ca " + ca, 3, "401"},
		"all of it":        {"--owners-ca " + ca + " --owners-user replica --owners-password-file " + password, 3, "no owner"},
		"no such ca":       {"--owners-ca /nonexistent", 3, "owners: ca: open /nonexistent"},
		"no certificate":   {"--owners-ca " + password, 3, "no certificate in"},
		"no password file": {"--owners-user u --owners-password-file /nonexistent", 3, "password_file"},
		"no key":           {"--owners-cert " + ca, 3, "needs both cert and key"},
		"wrong key":        {"--owners-cert " + ca + " --owners-key " + password, 3, "owners: cert"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _ := s.check(append([]string{"-v", "--owners", live.URL}, strings.Fields(c.args)...)...)
			assert.Equal(t, c.status, status)
			assert.Contains(t, s.out.String(), c.want)
			assert.NotContains(t, s.out.String(), "secret")
		})
	}
	assert.Equal(t, 2, asked)

	status, first := s.check("--owners", "http://pve1.example:10191")
	assert.Equal(t, 3, status)
	assert.Contains(t, first, "is not https")
}

// On a node, check uses the labels of the disks of the node's own guests. On a node, check ignores
// the labels of copies.
func TestCheckTakesLabelsOfItsOwnGuestsAlone(t *testing.T) {
	d := vm(100, "hourly", 7*time.Hour)
	d.Labels = map[string][3]string{"label:nosnap": {"on", "-", "local"}}
	s := newSite(t, d)
	status, _ := s.check("-v")
	assert.Equal(t, 2, status)
	assert.Contains(t, s.out.String(), "label:nosnap=on silences nothing on a copy: ask its owner (--owners), or put it under ignore:")
	s.PVE.Etc = s.fake.Path("pve")
	for _, node := range []string{"a", "b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.PVE.Etc, "nodes", node, "qemu-server"), 0o755))
	}
	require.NoError(t, os.Symlink("nodes/a", filepath.Join(s.PVE.Etc, "local")))
	config := filepath.Join(s.PVE.Etc, "nodes", "a", "qemu-server", "100.conf")
	require.NoError(t, os.WriteFile(config, nil, 0o600))
	status, first := s.check()
	assert.Equal(t, 0, status)
	assert.Contains(t, first, "1 excluded")
	require.NoError(t, os.Rename(config, filepath.Join(s.PVE.Etc, "nodes", "b", "qemu-server", "100.conf")))
	status, _ = s.check()
	assert.Equal(t, 2, status, "a standby's disk is a copy")

	owner := answering(t, checker.ComparedDisk{Owned: checker.Owned, Dataset: "rpool/vm-100-disk-0", Excluded: "label:nosnap=on"})
	status, first = s.check("--owners", owner.URL, "-vv")
	assert.Equal(t, 0, status)
	assert.Contains(t, first, "1 excluded")
	assert.Contains(t, s.out.String(), "takes no snapshots of the disk: label:nosnap=on")
}

// On a host without Proxmox, check treats a clone as made for a trial, because no guest can use a
// clone on such a host.
func TestCheckKnowsAClone(t *testing.T) {
	clone := zfstest.Dataset{Name: "tank/test/vm-100-disk-0", GUID: 7, Creation: noon.Add(-24 * time.Hour).Unix(), Origin: "tank/vm-100-disk-0@x"}
	s := newSite(t, vm(100, "hourly", time.Hour), clone)
	s.PVE.Etc = s.fake.Path("pve")
	status, first := s.check("-vv")
	assert.Equal(t, 0, status, first)
	assert.Contains(t, s.out.String(), "OK tank/test/vm-100-disk-0 excluded: a clone of tank/vm-100-disk-0@x, no copy")
	s.set(vm(100, "hourly", time.Hour))
	status, first = s.check()
	assert.Equal(t, 0, status, "a trial that ended is not missed: %s", first)
	s.set(vm(100, "hourly", time.Hour), clone)
	require.NoError(t, os.MkdirAll(s.PVE.Etc, 0o755))
	status, _ = s.check()
	assert.Equal(t, 2, status, "on a node that cannot be read it may be a guest's")
}

// On the node that owns a guest, explain does not treat the guest's disk as a copy.
func TestExplainKnowsItsOwn(t *testing.T) {
	s := newSite(t, vm(100, "hourly", 7*time.Hour))
	s.PVE.Etc = s.fake.Path("pve")
	require.NoError(t, os.MkdirAll(filepath.Join(s.PVE.Etc, "nodes", "a", "qemu-server"), 0o755))
	require.NoError(t, os.Symlink("nodes/a", filepath.Join(s.PVE.Etc, "local")))
	require.NoError(t, os.WriteFile(filepath.Join(s.PVE.Etc, "nodes", "a", "qemu-server", "100.conf"), nil, 0o600))
	require.Equal(t, 0, s.look("explain", "vm-100-disk-0"))
	assert.Contains(t, s.out.String(), "has the guest, tank/vm-100-disk-0")
	assert.Contains(t, s.out.String(), "snapwatch snap --dry-run -v")
	assert.NotContains(t, s.out.String(), "--owners")
	require.Equal(t, 0, s.look("explain", "100"))
	assert.Contains(t, s.out.String(), "Guest 100 is this host's own. Its disks can be cloned as of 2026-03-29 05:00:00, 7h ago.")
	assert.NotContains(t, s.out.String(), "--owners")
	config := s.fake.Path("replica.yaml")
	require.NoError(t, os.WriteFile(config, []byte("replicas: [tank]\n"), 0o600))
	require.Equal(t, 0, s.look("explain", "100", "--config", config))
	assert.Contains(t, s.out.String(), "Guest 100 can be started here as of")
	require.Equal(t, 0, s.look("explain", "vm-100-disk-0", "--config", config))
	assert.Contains(t, s.out.String(), "this copy, tank/vm-100-disk-0")
	assert.Contains(t, s.out.String(), "--owners")
}

// A node has copies of a second node's guests, and also a guest of its own. check does not ask the
// second node about the guest of this node.
func TestCheckDoesNotLookForAnOwnerOfItsOwnGuests(t *testing.T) {
	copied, own := vm(100, "hourly", 5*time.Minute), vm(500, "hourly", 5*time.Minute)
	copied.Name = "tank/copies/vm-100-disk-0"
	s := newSite(t, copied, own)
	require.NoError(t, os.WriteFile(s.ConfigPath, []byte("replicas: [tank/copies]\n"), 0o600))
	s.PVE.Etc = s.fake.Path("pve")
	require.NoError(t, os.MkdirAll(filepath.Join(s.PVE.Etc, "nodes", "c", "qemu-server"), 0o755))
	require.NoError(t, os.Symlink("nodes/c", filepath.Join(s.PVE.Etc, "local")))
	require.NoError(t, os.WriteFile(filepath.Join(s.PVE.Etc, "nodes", "c", "qemu-server", "500.conf"), nil, 0o600))
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		request, err := checker.ReadCompareRequest(r.Body)
		assert.NoError(t, err)
		answer := checker.NewCompareAnswer(noon)
		for _, d := range request.Disks {
			c := checker.ComparedDisk{Disk: d.Disk, Owned: checker.NotOwned, Gone: true}
			if d.Disk == "vm-100-disk-0" {
				c = checker.ComparedDisk{Disk: d.Disk, Owned: checker.Owned, Dataset: "rpool/data/" + d.Disk, GUID: 99, Newest: &d.Newest, Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID}
			}
			answer.Disks = append(answer.Disks, c)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	status, first := s.check("-vv", "--owners", node.URL)
	assert.Zero(t, status, first)
	assert.Contains(t, s.out.String(), "not compared, its guest is this host's own")
}
