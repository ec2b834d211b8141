//go:build e2e

package site_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"snapwatch/test/site"
)

type row struct {
	VMID      any     `json:"vmid"`
	Name      string  `json:"name"`
	Status    string  `json:"status"`
	QMPStatus string  `json:"qmpstatus"`
	PID       int     `json:"pid"`
	Lock      string  `json:"lock"`
	Template  int     `json:"template"`
	CPUs      float64 `json:"cpus"`
	ID        string  `json:"id"`
	Node      string  `json:"node"`
}

func pvesh(t *testing.T, s *site.Site, path string) []row {
	t.Helper()
	text := mustReturn[string](t)(s.Output(t.Context(), "pvesh", "get", path, "--output-format", "json"))
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	var rows []row
	check(t, json.Unmarshal([]byte(text), &rows))
	return rows
}

func testGuests(t *testing.T, ctx context.Context, l lab) {
	check(t, site.CreateZvol(ctx, "ta/data/vm-100-disk-0", 8))
	check(t, site.CreateFilesystem(ctx, "ta/data/subvol-200-disk-0"))
	check(t, l.a.AddVM(100, "vm-100-disk-0"))
	check(t, l.a.AddContainer(200, "subvol-200-disk-0"))
	check(t, l.a.SetOption(200, "cpulimit", "0.5"))

	stopped := []row{{VMID: 100.0, Name: "vm100", Status: "stopped", CPUs: 1}}
	equal(t, "stopped VM", fmt.Sprint(pvesh(t, l.a, "/nodes/localhost/qemu")), fmt.Sprint(stopped))
	equal(t, "stopped container", fmt.Sprint(pvesh(t, l.a, "/nodes/localhost/lxc")), fmt.Sprint([]row{{VMID: "200", Name: "ct200", Status: "stopped", CPUs: 0.5}}))
	equal(t, "B's guests", len(pvesh(t, l.b, "/nodes/localhost/qemu")), 0)

	check(t, l.a.StartGuest(ctx, 100))
	check(t, l.a.StartGuest(ctx, 200))
	vm := pvesh(t, l.a, "/nodes/localhost/qemu")[0]
	equal(t, "VM", vm.Status, "running")
	// A running guest holds its volume open, so ZFS refuses to destroy the volume.
	held := mustReturn[site.Result](t)(l.a.Run(ctx, "zfs", "destroy", "ta/data/vm-100-disk-0"))
	if held.Code == 0 || !strings.Contains(held.Stderr, "busy") {
		t.Errorf("destroying a running guest's disk: %+v", held)
	}
	ct := pvesh(t, l.a, "/nodes/localhost/lxc")[0]
	equal(t, "container", ct.Status, "running")
	pids := map[int]string{}
	for _, p := range mustReturn[[]site.Running](t)(l.a.Processes()) {
		pids[p.PID] = p.Argv[0]
	}
	equal(t, "VM's process", pids[vm.PID], "/usr/bin/kvm")
	equal(t, "container's process", pids[ct.PID], "/usr/bin/lxc-start")
	// The container's command socket exists only in the network namespace of site A.
	equal(t, "socket at A", mustReturn[site.Result](t)(l.a.Run(ctx, "grep", "-q", "@/var/lib/lxc/200/command", "/proc/net/unix")).Code, 0)
	equal(t, "socket at B", mustReturn[site.Result](t)(l.b.Run(ctx, "grep", "-q", "@/var/lib/lxc/200/command", "/proc/net/unix")).Code, 1)

	check(t, l.a.SetQMPStatus(100, "paused"))
	current := pvesh(t, l.a, "/nodes/localhost/qemu/100/status/current")[0]
	equal(t, "QEMU's state", current.QMPStatus, "paused")
	equal(t, "and Proxmox's", current.Status, "running")

	check(t, l.a.SetLock(100, "backup"))
	equal(t, "lock", pvesh(t, l.a, "/nodes/localhost/qemu")[0].Lock, "backup")
	check(t, l.a.SetLock(100, ""))
	equal(t, "no lock", pvesh(t, l.a, "/nodes/localhost/qemu")[0].Lock, "")

	check(t, l.a.KillGuest(100))
	if _, err := l.a.ReadFile("/run/qemu-server/100.pid"); err != nil {
		t.Errorf("a crash must leave the pid file: %v", err)
	}
	equal(t, "crashed VM", pvesh(t, l.a, "/nodes/localhost/qemu")[0].Status, "stopped")
	check(t, l.a.StartGuest(ctx, 100))
	check(t, l.a.StopGuest(100))
	if _, err := l.a.ReadFile("/run/qemu-server/100.pid"); !os.IsNotExist(err) {
		t.Errorf("a stop must remove the pid file: %v", err)
	}
	check(t, l.a.StopGuest(200))
	equal(t, "stopped container", pvesh(t, l.a, "/nodes/localhost/lxc")[0].Status, "stopped")

	check(t, l.a.SetTemplate(100))
	equal(t, "template", pvesh(t, l.a, "/nodes/localhost/qemu")[0].Template, 1)
	check(t, l.a.MoveGuestTo(100, l.b))
	equal(t, "guests left at A", len(pvesh(t, l.a, "/nodes/localhost/qemu")), 0)
	equal(t, "guests at B", len(pvesh(t, l.b, "/nodes/localhost/qemu")), 1)
	var all []string
	for _, r := range pvesh(t, l.b, "/cluster/resources") {
		all = append(all, r.ID+" "+r.Node+" "+r.Status)
	}
	equal(t, "the cluster", strings.Join(all, ", "), "node/pve-b pve-b online, qemu/100 pve-b stopped, lxc/200 pve-a unknown")
	check(t, l.b.RemoveGuest(100))
	check(t, l.a.RemoveGuest(200))
	equal(t, "guests left at B", len(pvesh(t, l.b, "/nodes/localhost/qemu")), 0)
}

func testFaults(t *testing.T, ctx context.Context, l lab) {
	check(t, l.a.AddVM(100))
	check(t, l.a.AddContainer(200))
	get := func(path string) site.Result {
		t.Helper()
		return mustReturn[site.Result](t)(l.a.Run(ctx, "pvesh", "get", path, "--output-format", "json"))
	}
	const qemu, lxc = "/nodes/localhost/qemu", "/nodes/localhost/lxc"

	check(t, l.a.SetPveshFault("fail", "Connection refused\n"))
	equal(t, "fail", get(qemu), site.Result{Stderr: "Connection refused\n", Code: 255})
	check(t, l.a.ClearPveshFault())
	equal(t, "fail, cleared", get(qemu).Code, 0)

	check(t, l.a.SetPveshFault("fail.lxc.once", ""))
	equal(t, "fail.lxc.once at qemu", get(qemu).Code, 0)
	equal(t, "fail.lxc.once", get(lxc).Code, 255)
	equal(t, "fail.lxc.once, again", get(lxc).Code, 0)

	check(t, l.a.SetPveshFault("garbage", "blockstats callback\n[]"))
	equal(t, "garbage", get(qemu).Stdout, "blockstats callback\n[]")
	check(t, l.a.ClearPveshFault())
	check(t, l.a.SetPveshFault("empty", ""))
	equal(t, "empty", get(qemu).Stdout, "[]\n")
	check(t, l.a.ClearPveshFault())
	check(t, l.a.SetPveshFault("unknown", ""))
	equal(t, "unknown", pvesh(t, l.a, lxc)[0].Status, "unknown")
	check(t, l.a.ClearPveshFault())
	equal(t, "unknown path", get("/nodes/pve-a/qemu").Code, 2)

	check(t, l.a.SetPveshFault("hang", ""))
	hung, err := l.a.Start(ctx, "pvesh", "get", qemu, "--output-format", "json")
	check(t, err)
	sleeps := func(p site.Running) bool { return p.Argv[0] == "sleep" }
	var left []site.Running
	for !slices.ContainsFunc(left, sleeps) && ctx.Err() == nil {
		left = mustReturn[[]site.Running](t)(l.a.Processes())
	}
	r := hung.Kill()
	equal(t, "exit status after a kill", r.Code, 137)
	equal(t, "output held by the child", r.Held, true)
	left = mustReturn[[]site.Running](t)(l.a.Processes())
	equal(t, "left behind", fmt.Sprint(len(left), left[0].Argv), "1 [sleep infinity]")

	check(t, l.a.ClearPveshFault())

	calls := mustReturn[[]string](t)(l.a.PveshCalls())
	equal(t, "first call", calls[0], "get /nodes/localhost/qemu --output-format json")
}

func testFlock(t *testing.T, ctx context.Context, l lab) {
	check(t, l.a.AddVM(100))
	check(t, l.a.AddContainer(200))
	for vmid, path := range map[int]string{100: "/run/lock/qemu-server/lock-100.conf", 200: "/run/lock/lxc/pve-config-200.lock"} {
		release, err := l.a.HoldFlock(vmid)
		check(t, err)
		try := func() int {
			return mustReturn[site.Result](t)(l.a.Run(ctx, "flock", "--shared", "--nonblock", path, "true")).Code
		}
		equal(t, "held", try(), 1)
		check(t, release())
		equal(t, "released", try(), 0)
	}
}
