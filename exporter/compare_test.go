package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
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
	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfstest"
)

// owns makes the exporter's node the owner of the guests in `vmids`, and pve2 the owner of guest
// 200.
func owns(vmids ...int) func(*Settings) {
	of := map[int]string{200: "pve2"}
	for _, vmid := range vmids {
		of[vmid] = "pve1"
	}
	return func(s *Settings) {
		s.Owners = func() (pve.Owners, error) { return pve.Owners{Node: "pve1", Of: of}, nil }
	}
}

// primaryWorld returns the fake pools of a node with disks of its own guests. The disk
// vm-100-disk-0 has a bookmark of a destroyed snapshot.
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

// compared sends the exporter a request of the comparison API, with a timeout that no test reaches,
// and returns the answer.
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
		ask("vm-100-disk-0", "", gone), // an asker with two copies of this disk may ask about the disk twice
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
		{checker.Owned, "", checker.PresenceUnknown, 0, "elsewhere/vm-100-disk-0 is not in what this exporter reads"},
		{checker.Owned, "rpool/data/vm-100-disk-0", checker.Absent, 0, ""},
		{checker.Owned, "tank/vm-101-disk-0", checker.AsSnapshot, 1006, ""},
		{checker.Owned, "", checker.PresenceUnknown, 0, "2 disks are called vm-101-disk-0"},
		{checker.Owned, "rpool/rep/vm-102-disk-0", checker.AsSnapshot, 1007, ""},
		{checker.Owned, "rpool/data/vm-103-disk-0", checker.Absent, 0, ""},
		{checker.NotOwned, "", checker.PresenceUnknown, 0, ""},
		{checker.NotOwned, "", checker.PresenceUnknown, 0, ""},
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
		assert.Equal(t, i >= 9, d.Gone, i)
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
	r.Refresh(t.Context()) // the guest's disks differ, so their snapshots are listed once
	for name, c := range map[string]struct {
		asked zfstest.Snapshot
		lists bool
		since *zfstest.Snapshot
	}{
		"less than an hour":                {snapshot("hourly", 2, time.Hour), false, nil},
		"an hour and more":                 {held, true, &d.Snapshots[2]},
		"something may have been rotated":  {d.Bookmarks[0], true, nil},
		"another snapshot under this name": {zfstest.Snapshot{Name: held.Name, GUID: 1, Creation: held.Creation}, false, nil},
		"not held":                         {snapshot("hourly", 9, 9*time.Hour), true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.fake.Forget()
			// An asker with two copies of one disk, at the same snapshot, asks the same question
			// twice.
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

// Another program on the copy's host makes snapshots with managed names, and replication is dead.
// The owner can prove that it never took the copy's newest snapshot if the owner still has all its
// own snapshots of about the same age.
func TestCompareTellsWhatItNeverHad(t *testing.T) {
	for name, c := range map[string]struct {
		asked  zfstest.Snapshot
		change func(old *zfstest.Snapshot)
		never  bool
	}{
		"made on the copy":                   {snapshot("hourly", 9, 2*time.Hour), func(*zfstest.Snapshot) {}, true},
		"a _stopped, which goes by itself":   {snapshot("stopped", 9, 2*time.Hour), func(*zfstest.Snapshot) {}, false},
		"it may have been rotated away":      {snapshot("hourly", 9, 7*time.Hour), func(*zfstest.Snapshot) {}, false},
		"what is that old is held":           {snapshot("hourly", 9, 2*time.Hour), func(old *zfstest.Snapshot) { old.Holds = 1 }, false},
		"what is that old is kept otherwise": {snapshot("hourly", 9, 2*time.Hour), func(old *zfstest.Snapshot) { *old = snapshot("daily", 10, 6*time.Hour); old.TXG = 2 }, false},
		"it has it":                          {snapshot("hourly", 2, time.Hour), func(*zfstest.Snapshot) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := primaryWorld()
			d := &w.Datasets[2]
			d.Snapshots = append([]zfstest.Snapshot{snapshot("frequently", 10, 6*time.Hour)}, d.Snapshots...)
			for i := range d.Snapshots {
				d.Snapshots[i].TXG = uint64(i + 2)
			}
			c.change(&d.Snapshots[0])
			answer := compared(t, newRig(t, w, owns(100)), ask("vm-100-disk-0", "", c.asked))
			assert.Equal(t, c.never, answer[0].NeverHad)
		})
	}
}

// An old snapshot with a hold or a clone does not prove that the owner still has all its other
// snapshots of the same age.
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

// A request names the disk from which a copy is sent. The owner must not confuse this disk with a
// different disk that has the same name. If the disk was renamed on the owner, the owner recognizes
// the disk by the copy's newest snapshot. A node must not call a disk gone until the node has read
// every pool in which the disk could be.
func TestCompareDoesNotTakeANamesakeForTheOrigin(t *testing.T) {
	w := primaryWorld()
	w.Datasets = append(w.Datasets, zfstest.Dataset{Name: "rpool/data/base-105-disk-0", GUID: 16, Snapshots: []zfstest.Snapshot{snapshot("__base__", 20, time.Hour)}})
	narrow := func(s *Settings) { s.Config.Datasets = []string{"rpool/data"} }
	held, unknown := snapshot("hourly", 1, 3*time.Hour), snapshot("hourly", 9, 9*time.Hour)
	for name, c := range map[string]struct {
		asked          checker.CompareDisk
		change         func(*Settings)
		gone, template bool
		dataset        string
		problem        string
	}{
		"renamed":                         {asked: ask("vm-100-disk-0", "rpool/old/vm-100-disk-0", held), dataset: "rpool/data/vm-100-disk-0"},
		"moved by copying":                {asked: ask("vm-100-disk-0", "rpool/old/vm-100-disk-0", unknown), gone: true},
		"the same name with another guid": {asked: ask("vm-100-disk-0", "rpool/old/vm-100-disk-0", zfstest.Snapshot{Name: held.Name, GUID: 5}), gone: true},
		"one of two":                      {asked: ask("vm-101-disk-0", "rpool/old/vm-101-disk-0", snapshot("daily", 5, time.Hour)), dataset: "rpool/data/vm-101-disk-0"},
		"none of two":                     {asked: ask("vm-101-disk-0", "rpool/old/vm-101-disk-0", unknown), gone: true},
		"no snapshot to know it by":       {asked: checker.CompareDisk{Disk: "vm-100-disk-0", Dataset: "rpool/old/vm-100-disk-0"}, gone: true},
		"the guest became a template":     {asked: ask("vm-105-disk-0", "rpool/data/vm-105-disk-0", unknown), gone: true, template: true},
		"the same without a name":         {asked: ask("vm-105-disk-0", "", unknown), gone: true, template: true},
		"of a pool that is not here":      {asked: ask("vm-100-disk-0", "usb/vm-100-disk-0", unknown), problem: "is its pool imported"},
		"of what is not looked at":        {asked: ask("vm-100-disk-0", "tank/vm-100-disk-0", unknown), change: narrow, problem: "within datasets:"},
		"anywhere, not all looked at":     {asked: ask("vm-105-disk-0", "", unknown), change: narrow, problem: "there is no disk vm-105-disk-0 in the datasets:"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*Settings) {}
			}
			d := compared(t, newRig(t, w, owns(100, 101, 105), c.change), c.asked)[0]
			assert.Equal(t, c.gone, d.Gone)
			assert.Equal(t, c.template, d.Template)
			assert.Equal(t, c.dataset, d.Dataset)
			assert.Contains(t, d.Problem, c.problem)
			assert.Equal(t, c.problem == "", d.Problem == "", d.Problem)
			if c.dataset != "" {
				assert.Equal(t, checker.AsSnapshot, d.Presence)
				assert.Equal(t, c.asked.Newest.GUID, d.PresenceGUID)
			}
		})
	}
	r := newRig(t, w, owns(100))
	r.fake.Pool("rpool", "SUSPENDED")
	d := compared(t, r, ask("vm-100-disk-0", "rpool/old/vm-100-disk-0", unknown), ask("vm-105-disk-0", "", unknown))
	assert.Contains(t, d[0].Problem, "suspended")
	assert.Contains(t, d[1].Problem, "suspended")
	assert.False(t, d[0].Gone || d[1].Gone, "what could not be read is not gone")
}

func TestCompareSaysWhatTheOwnerExcludes(t *testing.T) {
	w := primaryWorld()
	w.Datasets[2].Labels = map[string][3]string{"label:nosnap": {"on", "-", "local"}}
	r := newRig(t, w, owns(100, 101, 103), func(s *Settings) {
		s.Config.Overrides = []config.Override{{Selector: config.Selector{Disk: "tank/*"}, Ignore: true}}
		s.Config.Ignore = []string{"rpool/data/vm-103-disk-0"} // ignore: does not alarm, and snap still takes snapshots
	})
	d := compared(t, r,
		ask("vm-100-disk-0", "rpool/data/vm-100-disk-0", snapshot("hourly", 3, time.Minute)),
		ask("vm-101-disk-0", "tank/vm-101-disk-0", snapshot("hourly", 6, time.Hour)),
		ask("vm-103-disk-0", "", snapshot("hourly", 6, time.Hour)))
	assert.Equal(t, "label:nosnap=on", d[0].Excluded)
	assert.Equal(t, "overrides[0].ignore (disk tank/*)", d[1].Excluded)
	assert.Empty(t, d[2].Excluded)
}

// If the request names a _stopped snapshot as a disk's newest one, the answer says whether the
// disk's guest is alive. The owner looks up each guest once.
func TestCompareSaysWhoLives(t *testing.T) {
	since := start.Add(-3 * time.Hour)
	var asked []int
	r := newRig(t, primaryWorld(), owns(100, 101, 103), func(s *Settings) {
		s.Living = func(vmid int) (time.Time, bool) {
			asked = append(asked, vmid)
			return map[int]time.Time{100: since}[vmid], vmid != 103
		}
	})
	stopped, hourly := snapshot("stopped", 4, 24*time.Hour), snapshot("hourly", 3, time.Minute)
	d := compared(t, r,
		ask("vm-100-disk-0", "", stopped), ask("vm-100-disk-0", "", stopped), ask("vm-100-disk-0", "", hourly),
		ask("vm-101-disk-0", "tank/vm-101-disk-0", stopped), ask("vm-103-disk-0", "", stopped), ask("vm-200-disk-0", "", stopped))
	assert.Equal(t, []int{100, 101, 103}, asked, "each guest of its own once")
	require.NotNil(t, d[0].AliveSince)
	assert.True(t, since.Equal(*d[0].AliveSince))
	var alive []bool
	for _, one := range d {
		alive = append(alive, one.Alive)
	}
	assert.Equal(t, []bool{true, true, false, true, false, false}, alive)
	assert.Nil(t, d[3].AliveSince, "it is not known since when")
}

// If neither cron nor systemd starts snap, a node with guests reports that, in answers to other
// hosts and as a metric.
func TestWhereNothingStartsSnap(t *testing.T) {
	ended := func(ago time.Duration) func() (report.Run, error) {
		return func() (report.Run, error) { return report.Run{End: start.Add(-ago)}, nil }
	}
	none := func() (report.Run, error) { return report.Run{}, fs.ErrNotExist }
	for name, c := range map[string]struct {
		guests     []int
		replicas   []string
		role       string
		registered bool
		last       func() (report.Run, error)
		want       string
	}{
		"never ran":                        {guests: []int{100}, last: none, want: "1"},
		"ran until three hours ago":        {guests: []int{100}, last: ended(3 * time.Hour), want: "1"},
		"ran in the future":                {guests: []int{100}, last: ended(-time.Hour), want: "1"},
		"registered":                       {guests: []int{100}, registered: true, last: none, want: "0"},
		"somebody starts it in his way":    {guests: []int{100}, last: ended(time.Hour), want: "0"},
		"the report cannot be read":        {guests: []int{100}, last: func() (report.Run, error) { return report.Run{}, fs.ErrPermission }, want: "0"},
		"no guests":                        {last: none, want: "0"},
		"guests without disks here":        {guests: []int{900}, last: none, want: "0"},
		"only copies of its guests' disks": {guests: []int{102}, replicas: []string{"rpool/rep"}, last: none, want: "0"},
		"a replica":                        {guests: []int{100}, role: "replica", last: none, want: "0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, primaryWorld(), owns(c.guests...), func(s *Settings) {
				s.Config.Role, s.Config.Replicas = c.role, c.replicas
				s.Runs = Runs{Last: c.last, Expected: func() bool { return c.registered }}
			})
			body, err := json.Marshal(checker.CompareRequest{Version: 2, Disks: []checker.CompareDisk{ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute))}})
			require.NoError(t, err)
			w := post(server().Handler(r.Store), string(body))
			var answer checker.CompareAnswer
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			assert.Equal(t, c.want == "1", answer.Unregistered)
			assert.Contains(t, get(server().Handler(r.Store), "/metrics").Body.String(), "\nsnapwatch_run_unregistered "+c.want+"\n")
		})
	}
	r := newRig(t, primaryWorld(), func(s *Settings) {
		s.Owners = func() (pve.Owners, error) { return pve.Owners{}, errors.New("no Proxmox") }
		s.Runs = Runs{Last: none, Expected: func() bool { return false }}
	})
	assert.NotContains(t, get(server().Handler(r.Store), "/metrics").Body.String(), "snapwatch_run_unregistered", "it is not known who has guests")
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
		read     func() (pve.Owners, error)
		noGuests bool
		want     string
		guests   string
	}{
		"no Proxmox":    {want: "does not read"},
		"no node of it": {read: func() (pve.Owners, error) { return pve.Owners{}, pve.ErrNotPVE }, noGuests: true, want: "not a Proxmox VE node"},
		"an error":      {read: func() (pve.Owners, error) { return pve.Owners{}, errors.New("permission denied") }, want: "permission denied", guests: "permission denied"},
		"it hangs":      {read: func() (pve.Owners, error) { readings.Add(1); <-hung; return pve.Owners{}, nil }, want: "is pmxcfs hung?", guests: "is pmxcfs hung?"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, primaryWorld(), func(s *Settings) { s.Owners, s.NoGuests = c.read, c.noGuests })
			for range 2 {
				d := compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)))
				assert.Equal(t, checker.OwnershipUnknown, d[0].Owned)
				assert.Contains(t, d[0].OwnedProblem, c.want)
				assert.Equal(t, checker.AsSnapshot, d[0].Presence, "the snapshots are known all the same")
			}
			problem := r.compare(t.Context(), checker.CompareRequest{}).GuestsProblem
			assert.Contains(t, problem, c.guests)
			assert.Equal(t, c.guests == "", problem == "", problem)
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
	assert.Equal(t, checker.Absent, d[1].Presence, "another pool is answered for")

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
		assert.Empty(t, d[0].Problem, "what was read last stands")
		assert.Equal(t, checker.AsSnapshot, d[0].Presence)
		require.NotNil(t, d[0].ReadAt)
		assert.True(t, d[0].ReadAt.Equal(r.clock.now()))
		assert.Equal(t, checker.Absent, d[1].Presence)
		assert.Nil(t, d[1].ReadAt)
	}
	newer, unknown := ask("vm-100-disk-0", "", snapshot("hourly", 4, time.Second)), ask("vm-109-disk-0", "rpool/vm-109-disk-0", snapshot("hourly", 4, time.Second))
	d := comparedWithin(t, "6", r, newer, unknown)
	assert.Equal(t, checker.Absent, d[0].Presence, "a name is looked up while the listing hangs")
	assert.Contains(t, d[1].Problem, "is not finished", "what was not there may be now")
	assert.False(t, d[1].Gone)
	assert.Equal(t, 1, r.fake.Hung())
	r.clock.forward(11 * time.Minute)
	d = comparedWithin(t, "6", r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)))
	assert.Contains(t, d[0].Problem, "is not finished", "it does not count any longer")
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
		strings.Replace(good, `vm-100-disk-0`, `-r`, 1):                                              "not the name of a disk",
		strings.Replace(good, `vm-100-disk-0",`, `vm-100-disk-0","dataset":"-o",`, 1):                "not the dataset",
		strings.Replace(good, `vm-100-disk-0",`, `vm-100-disk-0","dataset":"rpool/vm-1-disk-0",`, 1): "not the dataset",
		strings.Replace(good, `autosnap`, `x@autosnap`, 1):                                           "not a managed snapshot",
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

// A label counts only on the host that owns the disk's guest, according to the last reading of
// Proxmox's configuration. On a copy, the label was received with the send stream, or was set for
// another purpose.
func TestALabelOnACopySilencesNothing(t *testing.T) {
	w := primaryWorld()
	for i := range w.Datasets {
		w.Datasets[i].Labels = map[string][3]string{"label:nosnap": {"on", "-", "inherited from x"}}
		w.Datasets[i].Creation = start.Add(-48 * time.Hour).Unix()
	}
	var broken atomic.Bool
	r := newRig(t, w, func(s *Settings) {
		s.Owners = func() (pve.Owners, error) {
			if broken.Load() {
				return pve.Owners{}, errors.New("pmxcfs is not mounted")
			}
			return pve.Owners{Node: "pve1", Of: map[int]string{100: "pve1", 103: "pve2"}}, nil
		}
	})
	state := func(metrics, dataset, verdict string) string {
		return line(metrics, `snapwatch_disk_state{dataset="`+dataset+`",disk="`+dataset[len("rpool/data/"):]+`",pool="rpool",state="`+verdict+`",`)
	}
	for range 2 {
		metrics := r.scrape()
		assert.Equal(t, "1", state(metrics, "rpool/data/vm-100-disk-0", "excluded"))
		assert.Equal(t, "1", state(metrics, "rpool/data/vm-103-disk-0", "never"))
		broken.Store(true) // pmxcfs does not answer for a moment, which must not alarm
	}
	r.restart()
	assert.Equal(t, "0", state(r.scrape(), "rpool/data/vm-100-disk-0", "excluded"), "nothing is known of whose it is")
}
