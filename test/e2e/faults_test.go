//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// flakyProgram is a script that replaces a real program and calls the real program. The flaky
// programs of a site share one count of their calls. The test chooses by a number which call fails.
const flakyProgram = `#!/bin/sh
real=%s
n=0
while ! mkdir /tmp/flaky/$n 2>/dev/null; do n=$((n + 1)); done
turn=$(cat /tmp/flaky/turn)
[ $turn = every ] || [ $turn = $n ] || exec $real "$@"
echo "$real $*" >>/tmp/flaky/failed
case $(cat /tmp/flaky/how) in
dies) exit 1 ;;
"ends badly") $real "$@"; exit 1 ;;
"is cut") $real "$@" >/tmp/flaky/out.$n; head -c $(($(wc -c </tmp/flaky/out.$n) * 2 / 5)) /tmp/flaky/out.$n ;;
hangs) exec sleep infinity ;;
"is slow") sleep 3; exec $real "$@" ;;
esac
`

// faultKinds are the ways in which a program can fail.
var faultKinds = []string{"dies", "is cut", "ends badly", "hangs", "is slow"}

// faultsOf returns the ways in which a test lets call n of a program fail. The nightly tests play
// all faultKinds for each call. The usual tests play one of the faultKinds for each call: for call
// 0 the kind with the index `first`, for call 1 the next kind, and so on.
func faultsOf(first, n int) []string {
	if everyKind {
		return faultKinds
	}
	return faultKinds[(first+n)%len(faultKinds):][:1]
}

// flaky is a site with programs that fail when a test says so.
type flaky struct {
	*world
	site *site.Site
}

func (w *world) flaky(s *site.Site, programs ...string) flaky {
	f := flaky{w, s}
	for _, real := range programs {
		require.NoError(w.t, s.Install(real[strings.LastIndexByte(real, '/')+1:], fmt.Sprintf(flakyProgram, real)))
	}
	f.set("never", "")
	return f
}

// set chooses which call of a flaky program fails next, and how it fails. The argument `turn` is
// the number of the call, counted from 0, or "every" or "never".
func (f flaky) set(turn, how string) {
	f.t.Helper()
	require.NoError(f.t, os.RemoveAll("/tmp/flaky"))
	require.NoError(f.t, os.Mkdir("/tmp/flaky", 0o700))
	require.NoError(f.t, os.Chmod("/tmp/flaky", 0o777))
	require.NoError(f.t, os.WriteFile("/tmp/flaky/turn", []byte(turn), 0o644))
	require.NoError(f.t, os.WriteFile("/tmp/flaky/how", []byte(how), 0o644))
}

// failed returns the call at which a flaky program failed, "" if every call succeeded.
func (f flaky) failed() string {
	text, err := os.ReadFile("/tmp/flaky/failed")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// run runs snapwatch while a call of a flaky program fails. If the failing call hangs, the method
// run kills snapwatch and the hung process.
func (f flaky) run(how string, args ...string) site.Result {
	f.t.Helper()
	if how != "hangs" {
		return f.world.run(f.site, args...)
	}
	p, err := f.site.Start(f.ctx, append([]string{program(f.t)}, args...)...)
	require.NoError(f.t, err)
	ended := make(chan site.Result, 1)
	go func() { ended <- p.Wait() }()
	for f.failed() == "" {
		select {
		case r := <-ended:
			return r
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.Kill()
	running, err := f.site.Processes()
	require.NoError(f.t, err)
	for _, r := range running {
		if slices.Equal(r.Argv, []string{"sleep", "infinity"}) {
			require.NoError(f.t, syscall.Kill(r.PID, syscall.SIGKILL))
		}
	}
	return <-ended
}

// mustStay asserts that all snapshots exist that the retention "f2 d2" keeps: the last two
// snapshots, the first snapshot of each day, and all _stopped snapshots.
func mustStay(t *testing.T, when string, before, after []string) {
	t.Helper()
	all := slices.Clone(before)
	for _, name := range after {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	periodic := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return strings.HasSuffix(name, "_stopped") })
	for _, name := range all {
		keeps := strings.HasSuffix(name, "_stopped") || strings.HasSuffix(name, "_daily") || slices.Index(periodic, name) >= len(periodic)-2
		require.True(t, !keeps || slices.Contains(after, name), "%s: %s is gone; there were %v, and there are %v", when, name, before, after)
	}
}

// TestFaultsOfSnap: in each round, a different call of zfs or pvesh fails. Whichever call fails,
// snap destroys no snapshot that must be kept, and treats no running guest as stopped. The next run
// repairs everything and reports nothing.
func TestFaultsOfSnap(t *testing.T) {
	w := newWorld(t)
	words := []string{"snap", "f2", "d2"}
	lives, blinks := "ta/data/vm-100-disk-0", "ta/data/vm-101-disk-0"
	w.vm(100, "vm-100-disk-0")
	w.vm(101, "vm-101-disk-0")
	w.start(w.a, 100)
	w.start(w.a, 101)
	for range 3 {
		w.snap(w.a, words[1:]...)
	}
	f := w.flaky(w.a, "/usr/sbin/zfs", "/usr/bin/pvesh")
	running, stops := true, 0
	for n, hit := 0, true; hit; n++ {
		for _, how := range faultsOf(0, n) {
			if running = !running; running {
				w.start(w.a, 101)
			} else {
				w.stop(w.a, 101)
				stops++
			}
			before := map[string][]string{lives: w.snapshots(lives), blinks: w.snapshots(blinks)}
			f.set(fmt.Sprint(n), how)
			f.run(how, words...)
			when := fmt.Sprintf("call %d %s (%s)", n, how, f.failed())
			t.Log(when)
			hit = f.failed() != ""
			check := func() {
				for _, disk := range []string{lives, blinks} {
					mustStay(t, when, before[disk], w.snapshots(disk))
				}
				require.NotContains(t, w.classes(lives), "stopped", when)
				require.LessOrEqual(t, count(w.classes(blinks), "stopped"), stops, when)
			}
			check()
			f.set("never", "")
			w.snap(w.a, words[1:]...)
			check()
			require.Equal(t, "pve-a", w.label(lives), when)
			classes := w.classes(blinks)
			require.Equal(t, stops, count(classes, "stopped"), when)
			require.Equal(t, !running, classes[len(classes)-1] == "stopped", "%s: %v", when, classes)
			require.Equal(t, map[bool]string{true: "pve-a", false: "stopped"}[running], w.label(blinks), when)
			require.LessOrEqual(t, count(w.classes(lives), "frequently"), 2, when)
		}
	}
}

// TestFaultsOfCheck: in each round, a different call of zfs fails. check never reports an old copy
// as fresh or a fresh copy as old. If check cannot read a copy, check reports the copy as unknown.
// The next check, in which no call fails, gives the right verdicts.
func TestFaultsOfCheck(t *testing.T) {
	w := newWorld(t)
	disks := []string{"vm-100-disk-0", "vm-100-disk-1"}
	w.vm(100, disks...)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate(disks...)
	f := w.flaky(w.c, "/usr/sbin/zfs", "/usr/sbin/zpool")
	for i, truth := range []int{0, 2} {
		for n, hit := 0, true; hit; n++ {
			for _, how := range faultsOf(2*i, n) {
				f.set(fmt.Sprint(n), how)
				said := w.check("-t", "6s")
				when := fmt.Sprintf("call %d %s (%s)", n, how, f.failed())
				t.Log(when)
				if hit = f.failed() != ""; !hit {
					break
				}
				require.Contains(t, []int{truth, 3}, said.Code, when)
				require.Regexp(t, "^(OK|WARNING|CRITICAL|UNKNOWN)", said.Stdout, when)
				_, err := w.c.Run(w.ctx, "pkill", "-9", "-x", "sleep")
				require.NoError(t, err)
			}
		}
		f.set("never", "")
		require.Equal(t, truth, w.check().Code)
		w.advanceClock(7 * time.Hour)
	}
	assert.Equal(t, 2, w.check().Code)
}
