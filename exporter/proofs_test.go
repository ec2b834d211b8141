package exporter

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/remote"
	"snapwatch/checker/scan"
	"snapwatch/config"
)

// Records of drills of guest 100: a good drill, and then one that found a fault.
const (
	good   = `{"point": "2026-03-29_09:00:00", "at": "2026-03-29T09:05:00Z", "reach": "checked", "seconds": 90.5, "remarks": ["Debian"]}`
	failed = `{"point": "2026-03-29_10:00:00", "at": "2026-03-29T10:05:00Z", "reach": "cloned", "seconds": 2, "faults": [{"kind": "file systems", "wrong": "checking /dev/sda1 <ext4>: faults"}]}`
	open   = `[{"kind": "file systems", "point": "2026-03-29_10:00:00", "at": "2026-03-29T10:05:00Z", "wrong": ["checking /dev/sda1 <ext4>: faults"], "file_systems": 2}]`
	proven = `{"version": 2, "guests": [{"cluster": "east", "vmid": 100, "last": ` + good + `, "good": ` + good + `}]}`
	broken = `{"version": 2, "guests": [{"cluster": "east", "vmid": 100, "last": ` + failed + `, "good": ` + good + `, "open": ` + open + `}]}`
)

// drills returns the path of a file with the records of drills.
func drills(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), checker.ProofsName)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestProofsOfGuests(t *testing.T) {
	path := drills(t, proven)
	r := newRig(t, world(), func(s *Settings) { s.Drills = path })
	state := func(metrics, vmid, state string) string {
		return line(metrics, `snapwatch_guest_proof_state{origin_cluster="east",state="`+state+`",vmid="`+vmid+`"}`)
	}
	metrics := r.scrape()
	assert.Equal(t, "1", state(metrics, "100", "fresh"), "in the first scrape")
	assert.Equal(t, "0", state(metrics, "100", "failed"))
	assert.Equal(t, "1", state(metrics, "101", "none"))
	assert.Equal(t, "90.5", line(metrics, `snapwatch_guest_proof_duration_seconds{origin_cluster="east",vmid="100"}`))
	assert.Equal(t, "1.7747751e+09", line(metrics, `snapwatch_guest_proof_timestamp_seconds{origin_cluster="east",vmid="100"}`))
	assert.NotContains(t, metrics, `snapwatch_guest_proof_duration_seconds{origin_cluster="east",vmid="101"}`)
	assert.Contains(t, r.waitPage(t, "/?guest=100"), "<p>proof fresh: checked ")

	require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
	metrics = r.scrape()
	assert.Equal(t, "1", state(metrics, "100", "failed"))
	assert.Equal(t, "0", state(metrics, "100", "fresh"))
	assert.Equal(t, "90.5", line(metrics, `snapwatch_guest_proof_duration_seconds{origin_cluster="east",vmid="100"}`), "the last good one")
	assert.Equal(t, "1", line(metrics, `snapwatch_guest_state{origin_cluster="east",state="whole",vmid="100"}`), "the guest has its own verdict")
	page := r.waitPage(t, "/")
	assert.Contains(t, page, `<span class="said">proof failed: the drill of 2026-03-29 10:00:00 failed, `)
	assert.Contains(t, page, "checking /dev/sda1 &lt;ext4&gt;: faults; to end this warning: snapwatch drill 100 (which must find at least 2 file systems)")
	assert.Contains(t, page, "1 guest failed in a drill")
	api := get(server().Handler(r.Store), "/api/v1/disks").Body.String()
	assert.Contains(t, api, `"verdict": "failed"`)
	assert.Contains(t, api, `"wrong": [`)
	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	facts, err := remote.Read(t.Context(), live.URL, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, scan.LoadProofs(path), facts.Proofs, "check --from judges the same records")

	// A file that is being damaged neither ends an alarm nor is it silent.
	require.NoError(t, os.WriteFile(path, []byte(broken[:100]), 0o600))
	metrics = r.scrape()
	assert.Equal(t, "1", state(metrics, "100", "failed"))
	assert.Contains(t, r.waitPage(t, "/"), "the record of drills cannot be read: "+path)
	require.NoError(t, os.Remove(path))
	assert.NotContains(t, r.scrape(), "snapwatch_guest_proof_", "root removed the record")
}

// With max_proof_age each guest needs a proof, and no record means that there was no drill.
func TestProofsAreDemanded(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Config.Limits.MaxProofAge = config.Duration(time.Hour) })
	metrics := r.scrape()
	assert.Equal(t, "1", line(metrics, `snapwatch_guest_proof_state{origin_cluster="east",state="old",vmid="100"}`))
	page := r.waitPage(t, "/")
	assert.Contains(t, page, "proof old: no drill has proved it since it arrived here")
	assert.Equal(t, 1, strings.Count(page, "without a recent proof"))
}
