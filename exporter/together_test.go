package exporter

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfstest"
)

// Forty checks of forty guests start in the same second while zfs is slow. The exporter answers
// each of the checks about the disks that the check asked for. The copies lag by many snapshots, so
// each comparison needs more than one call of zfs.
func TestFortyCompareAtOnce(t *testing.T) {
	for name, s := range map[string]zfstest.Snapshot{"in sync": snapshot("hourly", 3, time.Minute), "far behind": snapshot("hourly", 1, 3*time.Hour)} {
		t.Run(name, func(t *testing.T) {
			w := primaryWorld()
			w.Faults = []zfstest.Fault{{Takes: 200 * time.Millisecond}}
			r := newRig(t, w, owns(100, 101), func(s *Settings) { s.Reuse = 5 * time.Second; s.Scanner.Now = time.Now })
			h := server().Handler(r.Store)
			var all sync.WaitGroup
			for i := range 40 {
				asked := checker.CompareDisks{ask("vm-100-disk-0", "", s), ask("vm-101-disk-"+strconv.Itoa(i), "", s)}[i%2:]
				all.Go(func() {
					body, err := json.Marshal(checker.CompareRequest{Version: 2, Disks: asked})
					assert.NoError(t, err)
					said := post(h, string(body), "X-Prometheus-Scrape-Timeout-Seconds", "7")
					assert.Equal(t, http.StatusOK, said.Code, said.Body)
					var answer checker.CompareAnswer
					assert.NoError(t, json.Unmarshal(said.Body.Bytes(), &answer))
					if assert.Len(t, answer.Disks, len(asked)) {
						for k := range asked {
							assert.Equal(t, asked[k].Disk, answer.Disks[k].Disk)
						}
						if i%2 == 0 {
							assert.Equal(t, checker.AsSnapshot, answer.Disks[0].Presence, answer.Disks[0].Problem)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// playedComparisons plays comparisons that take some time. For each comparison, playedComparisons
// records the number of disks and the time until the deadline.
type playedComparisons struct {
	comparisons
	takes time.Duration
	sizes []int
	had   []time.Duration
}

func newPlayedComparisons(takes time.Duration) *playedComparisons {
	p := &playedComparisons{takes: takes}
	p.turns = make(chan struct{}, 1)
	p.comparisons.compare = func(ctx context.Context, request checker.CompareRequest) checker.CompareAnswer {
		deadline, _ := ctx.Deadline()
		p.sizes, p.had = append(p.sizes, len(request.Disks)), append(p.had, time.Until(deadline))
		time.Sleep(p.takes)
		if request.Disks[0].Disk == "bad" {
			panic("bad")
		}
		var answer checker.CompareAnswer
		for _, d := range request.Disks {
			answer.Disks = append(answer.Disks, checker.ComparedDisk{Disk: d.Disk})
		}
		return answer
	}
	return p
}

// asks starts a comparison request about the given number of disks, all with the same name, and
// returns a pointer. When the request has ended, the pointer points to the error of the request.
func (p *playedComparisons) asks(t *testing.T, timeout time.Duration, name string, disks int) (err *error) {
	err = new(error)
	go func() {
		request := checker.CompareRequest{Disks: make(checker.CompareDisks, disks)}
		for i := range request.Disks {
			request.Disks[i].Disk = name
		}
		var answer checker.CompareAnswer
		if answer, *err = p.answer(t.Context(), time.Now().Add(timeout), request); *err == nil {
			assert.Len(t, answer.Disks, disks)
			for _, d := range answer.Disks {
				assert.Equal(t, name, d.Disk)
			}
		}
	}()
	synctest.Wait()
	return err
}

func TestWhoWaitsIsAnsweredTogether(t *testing.T) {
	const most = checker.MaxCompareDisks
	for name, c := range map[string]struct {
		takes, first, second, third time.Duration
		disks                       int
		sizes                       []int
		had                         []time.Duration
	}{
		"alike":                {time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second, 2, []int{1, 3}, []time.Duration{8 * time.Second, 7 * time.Second}},
		"the earliest counts":  {time.Second, 8 * time.Second, 8 * time.Second, 7 * time.Second, 2, []int{1, 3}, []time.Duration{8 * time.Second, 6 * time.Second}},
		"too many":             {time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second, most, []int{1, 1, most}, []time.Duration{8 * time.Second, 7 * time.Second, 6 * time.Second}},
		"one is in more haste": {time.Second, 8 * time.Second, 8 * time.Second, 5 * time.Second, 2, []int{1, 1, 2}, []time.Duration{8 * time.Second, 7 * time.Second, 3 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlayedComparisons(c.takes)
				all := []*error{p.asks(t, c.first, "a", 1), p.asks(t, c.second, "b", 1), p.asks(t, c.third, "c", c.disks)}
				time.Sleep(time.Minute)
				synctest.Wait()
				for _, err := range all {
					assert.NoError(t, *err)
				}
				assert.ElementsMatch(t, c.sizes, p.sizes)
				if len(c.sizes) == 2 {
					assert.Equal(t, c.had, p.had)
				}
			})
		})
	}
}

// The exporter refuses a comparison request that has waited for half of its timeout. A request that
// fails does not affect other requests.
func TestNoTurnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayedComparisons(5 * time.Second)
		bad, late := p.asks(t, 8*time.Second, "bad", 1), p.asks(t, 8*time.Second, "b", 1)
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, *late, errBusy)
		after := p.asks(t, 8*time.Second, "c", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.ErrorContains(t, *bad, "internal error")
		assert.NoError(t, *after)
		assert.Equal(t, []int{1, 1}, p.sizes)
	})
}
