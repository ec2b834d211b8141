package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/note"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper/run"
)

// hooksOf returns the hooks that are configured in a simulated week. Each hook runs either once for
// each guest or once a run, as Setup.Hooks says.
func (s Setup) hooksOf() config.Hooks {
	if s.Hooks == "" {
		return config.Hooks{}
	}
	hook := func(name string) []config.Hook {
		return []config.Hook{{Argv: []string{name}, Per: s.Hooks}}
	}
	return config.Hooks{BeforeSnapshot: hook("before"), AfterSnapshot: hook("after"), AfterStop: hook("stop"), AfterPrune: hook("prune")}
}

// hooking is the state of the hooks on a simulated host.
type hooking struct {
	// notes has, by the note's name, the notes about started hooks that are on the host.
	notes map[string]*hookNote
	// atWork has, by VMID, the number of the guest's running hooks. If a guest's hook survives the
	// kill of its run, outlived has, by VMID, the tick at which this hook ends.
	atWork, outlived map[int]int
	// prepared has, by VMID, the number of runs since the start of the guest's hook
	// before_snapshot, until the hook after_snapshot has run. stopped has, by VMID, the number of
	// runs since the guest's _stopped snapshot, until the hook after_stop has run.
	prepared, stopped map[int]int
	// told has the problems that the host's runs have reported since the last run without an error.
	told []report.Problem
}

func newHooking() hooking {
	return hooking{map[string]*hookNote{}, map[int]int{}, map[int]int{}, map[int]int{}, map[int]int{}, nil}
}

// hookNote is a note about a started hook on a simulated host.
type hookNote struct {
	text []byte
	// holder is the run that has locked the note. If the run was killed, its hook keeps the note
	// locked until the hook ends, at the tick `outlived`.
	holder   *machine
	outlived int
}

// notes implements [run.Notes] with the notes about hooks on a simulated host.
type notes struct{ *machine }

// HookNotes implements [run.World].
func (m *machine) HookNotes() run.Notes { return notes{m} }

func (s notes) Take(name string) (run.Note, error) {
	if s.n.hooks.notes[name] == nil {
		if err := s.change(); err != nil {
			return nil, err
		}
		s.n.hooks.notes[name] = &hookNote{}
	}
	n, err := s.Find(name)
	if errors.Is(err, fs.ErrNotExist) { // another run ended the note
		return s.Take(name)
	}
	return n, err
}

func (s notes) Find(name string) (run.Note, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	n := s.n.hooks.notes[name]
	switch {
	case n == nil:
		return nil, fs.ErrNotExist
	case n.holder != nil && n.holder.dead == nil && !n.holder.ended, s.w.tick < n.outlived:
		if g := s.w.guests[vmidIn(name)]; g != nil {
			g.disturb() // the guest may get no snapshot in this run
		}
		s.hinder("hook at work")
		return nil, &note.Busy{Path: name}
	}
	n.holder = s.machine
	return heldNote{s.machine, name, n, len(n.text) > 0}, nil
}

func vmidIn(name string) (vmid int) {
	_, _ = fmt.Sscanf(name, "%d", &vmid)
	return vmid
}

func (s notes) Read(name string, v any) error {
	n := s.n.hooks.notes[name]
	if n == nil {
		return fs.ErrNotExist
	}
	return json.Unmarshal(n.text, v)
}

func (s notes) Names() ([]string, error) {
	return slices.Sorted(maps.Keys(s.n.hooks.notes)), s.call()
}

// heldNote is a note about a hook that a run has locked.
type heldNote struct {
	*machine
	name string
	note *hookNote
	left bool
}

func (h heldNote) Left() bool { return h.left }

func (h heldNote) Read(v any) error { return json.Unmarshal(h.note.text, v) }

func (h heldNote) Write(v any) (err error) {
	if err := h.change(); err != nil {
		return err
	}
	h.note.text, err = json.Marshal(v)
	return err
}

func (h heldNote) End() error {
	if err := h.change(); err != nil {
		return err
	}
	if h.n.hooks.notes[h.name] == h.note {
		delete(h.n.hooks.notes, h.name)
	}
	h.note.holder = nil
	return nil
}

func (h heldNote) Leave() {
	if h.dead == nil && h.note.holder == h.machine {
		h.note.holder = nil
	}
}

// Trusted implements [run.World]. If a hook is not trusted, the run does not start the hook, and
// perhaps none of the node's guests gets a snapshot in this run.
func (m *machine) Trusted(config.Hook) error {
	if m.chance.IntN(32) == 0 {
		m.hinder("hook not trusted")
		for _, g := range m.w.guests {
			if m.w.nodes[g.home] == m.n {
				g.disturb()
			}
		}
		return errFailed
	}
	return m.call()
}

// Hook implements [run.World]. Some hooks fail, some cannot be started, some are slow. If a run is
// killed while one of its hooks is running, the hook continues.
func (m *machine) Hook(_ context.Context, _ config.Hook, input string, _ []string, locks []run.Note) (string, error) {
	if err := m.change(); err != nil {
		return "", fmt.Errorf("%w: %w", command.ErrNotStarted, err)
	}
	var told struct {
		Hook   string
		Guests []struct{ VMID int }
	}
	if err := json.Unmarshal([]byte(input), &told); err != nil {
		panic(err)
	}
	if told.Hook == "before_snapshot" { // all other hooks may run in parallel to the run's own work
		m.begins("hook", "")
	}
	fails := m.chance.IntN(8) == 0
	if m.chance.IntN(32) == 0 {
		m.disturbs(told.Guests)
		return "", command.ErrNotStarted
	}
	m.w.stats.Hooks++
	h := &m.n.hooks
	for i, g := range told.Guests {
		if h.atWork[g.VMID] > 0 || m.w.tick < h.outlived[g.VMID] {
			m.w.recordBroken("%s starts %s of guest %d while another hook of the guest is at work", m.n.name, told.Hook, g.VMID)
		}
		if i > 0 && told.Guests[i-1].VMID >= g.VMID {
			m.w.recordBroken("%s tells %s of guests out of order", m.n.name, told.Hook)
		}
		switch h.atWork[g.VMID]++; told.Hook {
		case "before_snapshot":
			h.prepared[g.VMID] = 0
		case "after_snapshot":
			delete(h.prepared, g.VMID)
		case "after_stop":
			delete(h.stopped, g.VMID)
		}
	}
	for range m.chance.IntN(4) {
		m.turn()
	}
	if len(m.holds) == 0 && m.chance.IntN(8) == 0 {
		m.pass(10 * time.Second)
	}
	if m.n.killHook--; m.n.killHook == 0 && m.dead == nil {
		m.dead = errKilled
	}
	err := m.change()
	killed := errors.Is(err, errKilled)
	until := m.w.tick + 1 + m.chance.IntN(2)
	for _, g := range told.Guests {
		if h.atWork[g.VMID]--; killed {
			h.outlived[g.VMID] = max(h.outlived[g.VMID], until)
		}
	}
	if killed {
		for _, l := range locks {
			n := l.(heldNote).note
			n.outlived = max(n.outlived, until)
		}
	}
	if fails && err == nil {
		m.disturbs(told.Guests)
		err = errFailed
	}
	return "", err
}

// disturbs records that the given guests may get no snapshot in this run, because a hook failed
// or was slow.
func (m *machine) disturbs(guests []struct{ VMID int }) {
	m.hinder("hook failed")
	for _, g := range guests {
		if g := m.w.guests[g.VMID]; g != nil {
			g.disturb()
		}
	}
}

// stopHooked records that an after_stop hook must follow a guest's _stopped snapshot.
func (m *machine) stopHooked(vmid int) {
	if m.w.Hooks != "" && !m.final {
		m.n.hooks.stopped[vmid] = 0
	}
}

// hooked checks the hooks after a run without an error. Within a few runs, each due after_snapshot
// and after_stop hook must have run, or a run must have warned that it gave up the hook.
func (w *World) hooked(n *node) {
	const runs = 3
	aloud := func(event string, vmid int) bool {
		return slices.ContainsFunc(n.hooks.told, func(p report.Problem) bool {
			return p.Severity == report.Warning && (strings.HasPrefix(p.Text, fmt.Sprintf("hook %s, for guest %d: ", event, vmid)) ||
				strings.HasPrefix(p.Text, "hook "+event+", once: "))
		})
	}
	defer func() { n.hooks.told = nil }()
	for vmid := range n.hooks.prepared {
		if aloud("after_snapshot", vmid) {
			delete(n.hooks.prepared, vmid)
		} else if n.hooks.prepared[vmid]++; n.hooks.prepared[vmid] > runs && w.tick >= n.hooks.outlived[vmid] {
			w.recordBroken("no hook has followed before_snapshot of guest %d on %s for %d runs", vmid, n.name, runs)
		}
	}
	for vmid := range n.hooks.stopped {
		waits := !w.guests[vmid].alive && slices.ContainsFunc(w.guests[vmid].disks, func(name string) bool {
			d := n.sets[name]
			if d == nil || d.running.Own() != zfs.Stopped.String() {
				return true
			}
			newest, _ := d.newestManaged()
			class, _ := newest.Class()
			return class != zfs.Stopped
		})
		limit := runs
		if waits { // the hook waits for a label or a snapshot
			limit = int(3 * 24 * time.Hour / w.Tick)
		}
		if aloud("after_stop", vmid) {
			delete(n.hooks.stopped, vmid)
		} else if n.hooks.stopped[vmid]++; n.hooks.stopped[vmid] > limit && w.tick >= n.hooks.outlived[vmid] {
			w.recordBroken("after_stop of guest %d on %s has not run for %d runs", vmid, n.name, limit)
		}
	}
}
