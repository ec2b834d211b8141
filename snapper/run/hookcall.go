package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// hookEvent is the configuration key of a kind of hook, such as before_snapshot.
type hookEvent string

const (
	beforeSnapshot hookEvent = "before_snapshot"
	afterSnapshot  hookEvent = "after_snapshot"
	afterStop      hookEvent = "after_stop"
	afterPrune     hookEvent = "after_prune"
)

func hooksFor(h config.Hooks, on hookEvent) []config.Hook {
	return map[hookEvent][]config.Hook{
		beforeSnapshot: h.BeforeSnapshot, afterSnapshot: h.AfterSnapshot, afterStop: h.AfterStop, afterPrune: h.AfterPrune,
	}[on]
}

// hookGuest describes a guest in the JSON that a hook reads on its standard input.
type hookGuest struct {
	VMID int `json:"vmid"`
	// Snapshots has the full names of the snapshots of the guest that the run will take or has
	// taken. For after_prune, Snapshots has the snapshots of the guest that the run destroyed.
	Snapshots []hookSnapshot `json:"snapshots"`
	// Errors has, for each snapshot of the guest that was not taken, the reason.
	Errors []string `json:"errors,omitempty"`
	// failed is true if one of the Errors is a failure, and false if the run only left the guest's
	// disks alone.
	failed bool
}

type hookSnapshot struct {
	Dataset string `json:"dataset"`
	Name    string `json:"name"`
	Class   string `json:"class"`
}

// dueFor returns the living guests of whose disks a plan takes snapshots.
func dueFor(p snapper.Plan) []hookGuest {
	guests := map[int]*hookGuest{}
	for _, g := range p.Guests {
		for _, d := range g.Disks {
			if d.Snapshot && g.Class != zfs.Stopped {
				entry(guests, d.VMID).add(d.Dataset, g.Snapshot, g.Class)
			}
		}
	}
	return sorted(guests)
}

// stoppingIn returns the guests of whose disks a plan takes _stopped snapshots.
func stoppingIn(p snapper.Plan) []hookGuest {
	guests := map[int]*hookGuest{}
	for _, g := range p.Guests {
		for _, d := range g.Disks {
			if d.Snapshot && g.Class == zfs.Stopped {
				entry(guests, d.VMID).add(d.Dataset, g.Snapshot, g.Class)
			}
		}
	}
	return sorted(guests)
}

// takenOf returns the guests of whose disks the plan takes snapshots, with the outcomes of the
// snapshots: taken, failed, or left to the next run. live has the living guests, and stopped the
// guests that stopped.
func takenOf(p snapper.Plan, outcomes map[string]snapper.Outcome) (live, stopped []hookGuest) {
	lives, stops := map[int]*hookGuest{}, map[int]*hookGuest{}
	for _, g := range p.Guests {
		guests := lives
		if g.Class == zfs.Stopped {
			guests = stops
		}
		for _, d := range g.Disks {
			o := outcomes[d.Dataset]
			switch {
			case o.Err != nil:
				entry(guests, d.VMID).failed = true
				entry(guests, d.VMID).lacks(o.Err.Error())
			case o.Left != "":
				entry(guests, d.VMID).lacks(o.Left)
			case o.Snapshot != "":
				entry(guests, d.VMID).add(d.Dataset, o.Snapshot, g.Class)
			}
		}
	}
	return sorted(lives), sorted(stops)
}

// losingGuests returns the guests that lose snapshots in this run: the run has destroyed snapshots
// of their disks on the pools, or is about to destroy the snapshots in the argument `next`.
func losingGuests(pools []*pool, next []snapper.Destroy) []hookGuest {
	guests := map[int]*hookGuest{}
	lose := func(dataset, name string) {
		class, _ := zfs.Snapshot{Name: name}.Class()
		entry(guests, snapper.VmidOf(dataset)).add(dataset, name, class)
	}
	for _, p := range pools {
		for _, s := range p.destroyed {
			lose(s.Dataset, s.Name)
		}
	}
	for _, d := range next {
		lose(d.Dataset, d.Name)
	}
	return sorted(guests)
}

func entry(guests map[int]*hookGuest, vmid int) *hookGuest {
	if guests[vmid] == nil {
		guests[vmid] = &hookGuest{VMID: vmid, Snapshots: []hookSnapshot{}}
	}
	return guests[vmid]
}

// lacks records that the guest lacks a snapshot, with the reason why the snapshot was not taken.
func (g *hookGuest) lacks(why string) {
	if !slices.Contains(g.Errors, why) {
		g.Errors = append(g.Errors, why)
	}
}

func (g *hookGuest) add(dataset, name string, class zfs.Class) {
	g.Snapshots = append(g.Snapshots, hookSnapshot{Dataset: dataset, Name: name, Class: class.String()})
}

func sorted(guests map[int]*hookGuest) []hookGuest {
	var list []hookGuest
	for _, vmid := range slices.Sorted(maps.Keys(guests)) {
		list = append(list, *guests[vmid])
	}
	return list
}

// hookCall is one start of a hook, for one guest or for all.
type hookCall struct {
	config.Hook
	on     hookEvent
	node   string
	guests []hookGuest
}

func (c hookCall) String() string {
	if c.PerRun() {
		return string(c.on) + ", once"
	}
	return fmt.Sprintf("%s, for guest %d", c.on, c.guests[0].VMID)
}

// says returns a message about the start of the hook. The hook's command line is at the end of the
// message, because a long message may be clipped at its end.
func (c hookCall) says(what string) string {
	return fmt.Sprintf("hook %s: %s (%s)", c, what, strings.Join(c.Argv, " "))
}

// calls returns the starts of an event's hooks. The result `once` has the starts for all guests
// together. The result `each` has, by VMID, the starts for one guest.
func calls(hooks []config.Hook, on hookEvent, node string, guests []hookGuest) (once []hookCall, each map[int][]hookCall) {
	each = map[int][]hookCall{}
	for _, h := range hooks {
		call := hookCall{Hook: h, on: on, node: node}
		for _, g := range guests {
			switch {
			case !h.For(g.VMID):
			case h.PerRun():
				call.guests = append(call.guests, g)
			default:
				each[g.VMID] = append(each[g.VMID], hookCall{h, on, node, []hookGuest{g}})
			}
		}
		if len(call.guests) > 0 {
			once = append(once, call)
		}
	}
	return once, each
}

// A hook does not get an environment variable that is longer than maxVariable bytes, because the
// kernel rejects a variable of 128 KiB. The standard input of a hook has every value, whatever the
// value's length.
const maxVariable = 64 << 10

// environment returns the environment variables that a hook gets in addition to the environment of
// the run. In a variable with a list, each entry of the list has a line of its own, because a ZFS
// name may contain spaces.
func (c hookCall) environment() []string {
	var vmids, pools, snapshots, classes, disks []string
	for _, g := range c.guests {
		vmids = append(vmids, fmt.Sprint(g.VMID))
		for _, s := range g.Snapshots {
			pools = append(pools, zfs.Pool(s.Dataset))
			snapshots = append(snapshots, s.Name)
			classes = append(classes, s.Class)
			disks = append(disks, s.Dataset)
		}
	}
	var env []string
	for _, v := range []struct {
		name string
		list []string
	}{
		{"HOOK", []string{string(c.on)}}, {"NODE", []string{c.node}}, {"VMID", vmids}, {"POOLS", pools},
		{"SNAPSHOT", snapshots}, {"CLASS", classes}, {"DISKS", disks},
	} {
		slices.Sort(v.list)
		if text := strings.Join(slices.Compact(v.list), "\n"); len(text) <= maxVariable {
			env = append(env, "SNAPWATCH_"+v.name+"="+text)
		}
	}
	return env
}

// input returns the JSON that the hook reads on its standard input.
func (c hookCall) input() string {
	text, err := json.Marshal(struct {
		Hook   hookEvent   `json:"hook"`
		Node   string      `json:"node"`
		Guests []hookGuest `json:"guests"`
	}{c.on, c.node, c.guests})
	if err != nil {
		panic(err) // text and numbers can always be encoded
	}
	return string(text) + "\n"
}
