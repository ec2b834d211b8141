package snapper

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A stopped guest certainly remains stopped if the host is shutting down and all services that
// start guests have ended. If the host is not shutting down, or a service that starts guests still
// runs, nothing proves that a stopped guest remains stopped.
func TestShutdown(t *testing.T) {
	now := time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	down := Shutdown{System: "stopping", Guests: "inactive", HA: "inactive"}
	for _, test := range []struct {
		name     string
		shutdown Shutdown
		last     time.Time
		want     string
	}{
		{"down", down, now.Add(-15 * time.Minute), ""},
		{"no high availability", Shutdown{System: "stopping", Guests: "inactive", HA: "absent"}, now, ""},
		{"a guest had to be killed", Shutdown{System: "stopping", Guests: "failed", HA: "failed"}, now, ""},
		{"booting", Shutdown{System: "starting", Guests: "inactive", HA: "inactive"}, now, "does not shut down"},
		{"running", Shutdown{System: "running", Guests: "inactive", HA: "inactive"}, now, "does not shut down"},
		{"degraded", Shutdown{System: "degraded", Guests: "active", HA: "active"}, now, "does not shut down"},
		{"no systemd", Shutdown{System: "absent", Guests: "absent", HA: "absent"}, now, "does not shut down"},
		{"guests are being stopped", Shutdown{System: "stopping", Guests: "deactivating", HA: "inactive"}, now, "pve-guests.service is deactivating"},
		{"guests are not stopped yet", Shutdown{System: "stopping", Guests: "active", HA: "inactive"}, now, "pve-guests.service is active"},
		{"no unit that stops guests", Shutdown{System: "stopping", Guests: "absent", HA: "absent"}, now, "pve-guests.service is absent"},
		{"high availability is at work", Shutdown{System: "stopping", Guests: "inactive", HA: "deactivating"}, now, "pve-ha-lrm.service is deactivating"},
		{"not known", Shutdown{Err: errors.New("no answer")}, now, "not known whether the host shuts down: no answer"},
		{"snap ran long ago", down, now.Add(-25 * time.Hour), "snap did not run here"},
		{"snap never ran", down, time.Time{}, "snap did not run here"},
		{"snap ran in the future", down, now.Add(25 * time.Hour), "snap did not run here"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.shutdown.Finalizes(test.last, now)
			if test.want == "" {
				assert.Empty(t, got)
				return
			}
			assert.Contains(t, got, test.want)
		})
	}
}

// During shutdown, the proof of [Shutdown] replaces only the checks of uptime, of boot and of high
// availability, because neither boot nor high availability can start the guest here any more.
func TestShutdownJudge(t *testing.T) {
	down := Gate{Shutdown: &Shutdown{System: "stopping", Guests: "inactive", HA: "inactive"}}
	dead := Evidence{Listed: "stopped", SeenStopped: true, HAStarted: true}
	for _, test := range []struct {
		name   string
		change func(*Evidence)
		want   GuestState
	}{
		{"down", func(*Evidence) {}, Stopped},
		{"one look only", func(e *Evidence) { e.SeenStopped = false }, Busy},
		{"locked", func(e *Evidence) { e.Config.Lock = "rollback" }, Busy},
		{"rebooting", func(e *Evidence) { e.Rebooting = true }, Busy},
		{"alive", func(e *Evidence) { e.Process = true }, Running},
		{"not listed", func(e *Evidence) { e.ListErr = errors.New("pvesh") }, Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := dead
			test.change(&e)
			state, why := Judge(e, down)
			assert.Equal(t, test.want, state, why)
		})
	}
	up := Gate{Shutdown: &Shutdown{System: "running", Guests: "inactive", HA: "inactive"}}
	state, _ := Judge(dead, up)
	assert.Equal(t, Busy, state)
}
