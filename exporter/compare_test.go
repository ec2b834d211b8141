package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

// owns lets the store's node have these guests, and pve2 guest 200.
func owns(vmids ...int) func(*Settings) {
	of := map[int]string{200: "pve2"}
	for _, vmid := range vmids {
		of[vmid] = "pve1"
	}
	return func(s *Settings) {
		s.Owners = func() (pve.Owners, error) { return pve.Owners{Node: "pve1", Of: of}, nil }
	}
}

// primaryWorld is a node with its own disks; vm-100-disk-0 keeps a bookmark of a
// snapshot that is gone.
func primaryWorld() zfstest.World {
	d := disk("rpool/data/vm-100-disk-0", 11, snapshot("hourly", 1, 3*time.Hour), snapshot("hourly", 2, time.Hour), snapshot("hourly", 3, time.Minute))
	d.Bookmarks = []zfstest.Snapshot{snapshot("stopped", 4, 24*time.Hour)}
	return zfstest.World{Datasets: []zfstest.Dataset{
		{Name: "rpool", GUID: 1}, {Name: "tank", GUID: 2}, d,
		disk("rpool/data/vm-101-disk-0", 12, snapshot("daily", 5, time.Hour)),
		disk("tank/vm-101-disk-0", 13, snapshot("hourly", 6, time.Hour)),
		disk("rpool/rep/vm-102-disk-0", 14, snapshot("hourly", 7, time.Hour)),
		disk("rpool/data/vm-103-disk-0", 15),
	}}
}

func ask(diskName, dataset string, s zfstest.Snapshot) checker.CompareDisk {
	return checker.CompareDisk{Disk: diskName, Dataset: dataset, Newest: checker.SnapshotRef{Name: s.Name, GUID: s.GUID, Creation: time.Unix(s.Creation, 0)}}
}

func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/compare", strings.NewReader(body))
	r.Host = "localhost"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// compared asks with a timeout that no test needs.
func compared(t *testing.T, r *rig, disks ...checker.CompareDisk) []checker.ComparedDisk {
	t.Helper()
	return comparedWithin(t, "120", r, disks...)
}

func comparedWithin(t *testing.T, seconds string, r *rig, disks ...checker.CompareDisk) []checker.ComparedDisk {
	t.Helper()
	body, err := json.Marshal(checker.CompareRequest{Version: 2, Disks: disks})
	require.NoError(t, err)
	w := post(server().Handler(r.Store), string(body), "X-Prometheus-Scrape-Timeout-Seconds", seconds)
	require.Equal(t, 200, w.Code, w.Body)
	var answer checker.CompareAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Len(t, answer.Disks, len(disks))
	return answer.Disks
}

func TestCompareAnswersOfEachDisk(t *testing.T) {
	r := newRig(t, primaryWorld(), owns(100, 101, 102, 103), func(s *Settings) { s.Config.Replicas = []string{"rpool/rep"} })
	gone := snapshot("hourly", 9, 9*time.Hour)
	disks := compared(t, r,
		ask("vm-100-disk-0", "rpool/data/vm-100-disk-0", snapshot("hourly", 3, time.Minute)),
		ask("vm-100-disk-0", "", snapshot("hourly", 1, 3*time.Hour)),
		ask("vm-100-disk-0", "", snapshot("stopped", 4, 24*time.Hour)),
		ask("vm-100-disk-0", "elsewhere/vm-100-disk-0", gone),
		ask("vm-100-disk-0", "", gone), // two replicas here may ask the same
		ask("vm-101-disk-0", "tank/vm-101-disk-0", snapshot("hourly", 6, time.Hour)),
		ask("vm-101-disk-0", "", gone),
		ask("vm-102-disk-0", "", snapshot("hourly", 7, time.Hour)),
		ask("vm-103-disk-0", "", gone),
		ask("vm-104-disk-0", "", gone),
		ask("vm-200-disk-0", "", gone),
	)
	newest := disks[0].Newest
	require.NotNil(t, newest)
	assert.Equal(t, "hourly", newest.Class)
	assert.Equal(t, uint64(1003), newest.GUID)
	for i, want := range []struct {
		owned   checker.Ownership
		dataset string
		held    checker.Presence
		guid    uint64
		problem string
	}{
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.AsSnapshot, 1003, ""},
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.AsSnapshot, 1001, ""},
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.AsBookmark, 1004, ""},
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.Absent, 0, ""},
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.Absent, 0, ""},
		{checker.Owned, "tank/vm-101-disk-0", checker.AsSnapshot, 1006, ""},
		{checker.Owned, "", checker.PresenceUnknown, 0, "2 disks are called vm-101-disk-0"},
		{checker.Owned, "rpool/rep/vm-102-disk-0", checker.AsSnapshot, 1007, ""},
		{checker.Owned, "rpool/data/vm-103-disk-0", checker.Absent, 0, ""},
		{checker.NotOwned, "", checker.PresenceUnknown, 0, "there is no disk vm-104-disk-0 here"},
		{checker.NotOwned, "", checker.PresenceUnknown, 0, "there is no disk"},
	} {
		d := disks[i]
		assert.Equal(t, want.owned, d.Owned, i)
		assert.Equal(t, want.dataset, d.Dataset, i)
		assert.Equal(t, want.held.String(), d.Presence.String(), i)
		assert.Equal(t, want.guid, d.PresenceGUID, i)
		assert.Contains(t, d.Problem, want.problem, i)
		if want.problem == "" {
			assert.Empty(t, d.Problem, i)
		}
		assert.Equal(t, i == 7, d.Replica, i)
	}
	assert.Equal(t, "pve2", disks[10].ConfiguredOn)
}

func TestCompareListsOnlyWhereTheAskerIsFarBehind(t *testing.T) {
	w := primaryWorld()
	d := &w.Datasets[2]
	held := snapshot("hourly", 11, 5*time.Hour)
	d.Snapshots = append([]zfstest.Snapshot{snapshot("frequently", 10, 6*time.Hour), held}, d.Snapshots...)
	for i := range d.Snapshots {
		d.Snapshots[i].TXG = uint64(i + 2)
	}
	d.Bookmarks[0].TXG = 1
	r := newRig(t, w, owns(100))
	for name, c := range map[string]struct {
		asked zfstest.Snapshot
		lists bool
		since *zfstest.Snapshot
	}{
		"less than an hour":                {snapshot("hourly", 2, time.Hour), false, nil},
		"an hour and more":                 {held, true, &d.Snapshots[2]},
		"something may have been rotated":  {d.Bookmarks[0], true, nil},
		"another snapshot under this name": {zfstest.Snapshot{Name: held.Name, GUID: 1, Creation: held.Creation}, false, nil},
		"not held":                         {snapshot("hourly", 9, 9*time.Hour), false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.fake.Forget()
			// Two copies on one host may be at the same snapshot.
			both := compared(t, r, ask("vm-100-disk-0", "", c.asked), ask("vm-100-disk-0", "", c.asked))
			assert.Equal(t, c.lists, strings.Contains(strings.Join(r.fake.Calls(), "\n"), "-d 1"))
			for _, d := range both {
				if c.since == nil {
					assert.Nil(t, d.BehindSince)
					continue
				}
				require.NotNil(t, d.BehindSince)
				assert.Equal(t, c.since.Creation, d.BehindSince.Unix())
			}
		})
	}
}

// One old snapshot that is held or cloned does not tell that none was rotated away.
func TestCompareDoesNotTrustWhatIsPinned(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *zfstest.World, old *zfstest.Snapshot)
		known  bool
	}{
		"neither": {func(*zfstest.World, *zfstest.Snapshot) {}, true},
		"held":    {func(_ *zfstest.World, old *zfstest.Snapshot) { old.Holds = 1 }, false},
		"cloned":  {func(_ *zfstest.World, old *zfstest.Snapshot) { old.Clones = "rpool/clone" }, false},
		"cannot be asked": {func(w *zfstest.World, _ *zfstest.Snapshot) {
			w.Faults = []zfstest.Fault{{Words: []string{"clones"}, Exit: 1}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := primaryWorld()
			d := &w.Datasets[2]
			held := snapshot("hourly", 11, 5*time.Hour)
			d.Snapshots = append([]zfstest.Snapshot{snapshot("frequently", 10, 6*time.Hour), held}, d.Snapshots...)
			for i := range d.Snapshots {
				d.Snapshots[i].TXG = uint64(i + 2)
			}
			c.change(&w, &d.Snapshots[0])
			answer := compared(t, newRig(t, w, owns(100)), ask("vm-100-disk-0", "", held))
			assert.Equal(t, c.known, answer[0].BehindSince != nil)
		})
	}
}

func TestCompareOnAReplica(t *testing.T) {
	r := newRig(t, primaryWorld(), owns(100), func(s *Settings) { s.Config.Role = "replica" })
	d := compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)), ask("vm-9-disk-0", "", snapshot("hourly", 3, time.Minute)))
	assert.True(t, d[0].Replica)
	assert.True(t, d[1].Replica)
}

func TestOwnershipIsUnknownWhereProxmoxCannotBeRead(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	var readings atomic.Int32
	for name, c := range map[string]struct {
		read func() (pve.Owners, error)
		want string
	}{
		"no Proxmox": {nil, "does not read"},
		"an error":   {func() (pve.Owners, error) { return pve.Owners{}, errors.New("permission denied") }, "permission denied"},
		"it hangs":   {func() (pve.Owners, error) { readings.Add(1); <-hung; return pve.Owners{}, nil }, "is pmxcfs hung?"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, primaryWorld(), func(s *Settings) { s.Owners = c.read })
			for range 2 {
				d := compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)))
				assert.Equal(t, checker.OwnershipUnknown, d[0].Owned)
				assert.Contains(t, d[0].OwnedProblem, c.want)
				assert.Equal(t, checker.AsSnapshot, d[0].Presence, "the snapshots are known all the same")
			}
		})
	}
	assert.Equal(t, int32(1), readings.Load(), "at most one hangs")
}

func TestCompareSaysWhatCannotBeRead(t *testing.T) {
	w := primaryWorld()
	w.Faults = []zfstest.Fault{{Words: []string{"list", "bookmark", "rpool"}, Exit: 1, Stderr: "cannot open: I/O error\n"}}
	r := newRig(t, w, owns(100, 101))
	d := compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 9, time.Hour*9)), ask("vm-101-disk-0", "tank/vm-101-disk-0", snapshot("hourly", 8, time.Hour*9)))
	assert.Contains(t, d[0].Problem, "I/O error")
	assert.Equal(t, checker.PresenceUnknown, d[0].Presence)
	assert.Equal(t, checker.Absent, d[1].Presence, "another pool goes on")

	r.fake.Pool("rpool", "SUSPENDED")
	d = compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)), ask("vm-101-disk-0", "tank/vm-101-disk-0", snapshot("hourly", 6, time.Hour)))
	assert.Contains(t, d[0].Problem, "suspended", "what was read before is not good enough to compare with")
	assert.Empty(t, d[1].Problem)
}

func TestCompareWhileAPoolHangs(t *testing.T) {
	r := newRig(t, primaryWorld(), owns(100, 101))
	r.Refresh(t.Context())
	w := primaryWorld()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "rpool"}, Hang: true}}
	r.fake.Set(w)
	for range 2 {
		d := comparedWithin(t, "6", r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)), ask("vm-101-disk-0", "tank/vm-101-disk-0", snapshot("hourly", 8, 9*time.Hour)))
		assert.Contains(t, d[0].Problem, "is not finished")
		assert.Equal(t, checker.Absent, d[1].Presence)
	}
	assert.Equal(t, 1, r.fake.Hung())
}

func TestCompareRefusesWhatIsNoRequest(t *testing.T) {
	r := newRig(t, primaryWorld(), owns())
	h := server().Handler(r.Store)
	newest := `"newest":{"name":"autosnap_2026-03-29_11:00:00_hourly","guid":"1","creation":"2026-03-29T11:00:00Z"}`
	good := `{"version":2,"disks":[{"disk":"vm-100-disk-0",` + newest + `}]}`
	require.Equal(t, 200, post(h, good).Code)
	r.fake.Forget()
	for body, want := range map[string]string{
		"":                                      "EOF",
		good + "{}":                             "more than one",
		`[]`:                                    "cannot unmarshal",
		`{"version":1}`:                         "version 1",
		strings.Replace(good, `"1"`, `1`, 1):    "string",
		strings.Replace(good, `"1"`, `"-1"`, 1): "guid",
		strings.Replace(good, `"disk"`, `"extra":1,"disk"`, 1):                                       "unknown field",
		strings.Replace(good, `vm-100-disk-0`, `-r`, 1):                                              "no name of a disk",
		strings.Replace(good, `vm-100-disk-0",`, `vm-100-disk-0","dataset":"-o",`, 1):                "no dataset",
		strings.Replace(good, `vm-100-disk-0",`, `vm-100-disk-0","dataset":"rpool/vm-1-disk-0",`, 1): "no dataset",
		strings.Replace(good, `autosnap`, `x@autosnap`, 1):                                           "no managed snapshot",
	} {
		w := post(h, body)
		assert.Equal(t, 400, w.Code, body)
		assert.Contains(t, w.Body.String(), want, body)
	}
	assert.Equal(t, 413, post(h, `{"version":2,"disks":[`+strings.Repeat(" ", 17<<20)+`]}`).Code)
	assert.Equal(t, 415, post(h, good, "Content-Type", "text/plain").Code, "a page in a browser may not ask")
	assert.Equal(t, 405, get(h, "/api/v1/compare").Code)
	assert.Empty(t, r.fake.Calls(), "nothing was read for any of them")

	stranger := httptest.NewRequest(http.MethodPost, "/api/v1/compare", bytes.NewReader([]byte(good)))
	stranger.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, stranger.WithContext(context.WithValue(stranger.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})))
	assert.Equal(t, 403, w.Code)
}

func TestDisksAPISaysWhatIsOwnedHere(t *testing.T) {
	owned := func(r *rig) map[string]checker.Ownership {
		var doc checker.Document
		require.NoError(t, json.Unmarshal(get(server().Handler(r.Store), "/api/v1/disks").Body.Bytes(), &doc))
		all := map[string]checker.Ownership{}
		for _, d := range doc.Disks {
			all[d.Disk] = d.Owned
		}
		return all
	}
	got := owned(newRig(t, primaryWorld(), owns(100)))
	assert.Equal(t, checker.Owned, got["vm-100-disk-0"])
	assert.Equal(t, checker.NotOwned, got["vm-101-disk-0"])
	got = owned(newRig(t, primaryWorld()))
	assert.Equal(t, checker.OwnershipUnknown, got["vm-100-disk-0"])
}
