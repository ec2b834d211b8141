// Demo shows snapwatch's main job on real ZFS, as a person would type and see it: three sites in
// the lab's machine, and a guest that runs, stops, starts, loses its replication, and moves. Demo
// ends with an error if a command has an unexpected exit status.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"snapwatch/test/site"
)

func main() {
	if err := play(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// diskA, diskB and diskC are the dataset names of the guest's disk on the nodes A and B and on host
// C.
const (
	diskA = "ta/data/vm-100-disk-0"
	diskB = "tb/data/vm-100-disk-0"
	diskC = "tc/vm-100-disk-0"
)

// stage is the state of the running demonstration.
type stage struct {
	ctx     context.Context
	a, b, c *site.Site
	program string
	err     error
}

func play(ctx context.Context) error {
	s := &stage{ctx: ctx}
	if err := s.build(); err != nil {
		return err
	}
	defer func() {
		for _, host := range []*site.Site{s.a, s.b, s.c} {
			_ = host.Close()
		}
	}()
	for _, act := range []func(){s.running, s.stopped, s.started, s.broken, s.failover} {
		if act(); s.err != nil {
			return s.err
		}
	}
	say("That is the main job. Only Proxmox itself was simulated.")
	return nil
}

func (s *stage) build() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.program = filepath.Join(filepath.Dir(self), "snapwatch")
	for _, pool := range []string{"ta", "tb", "tc"} {
		if err := site.NewPool(s.ctx, pool, 512); err != nil {
			return err
		}
		if err := site.CreateFilesystem(s.ctx, pool+"/data"); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		host **site.Site
		site.Config
	}{
		{&s.a, site.Config{Name: "A", Node: "pve-a", Cluster: "pve", Pool: "ta"}},
		{&s.b, site.Config{Name: "B", Node: "pve-b", Cluster: "pve", Pool: "tb"}},
		{&s.c, site.Config{Name: "C", Pool: "tc"}},
	} {
		if *c.host, err = site.Start(s.ctx, c.Config); err != nil {
			return err
		}
		if err := (*c.host).Install("snapwatch", "#!/bin/sh\nexec "+s.program+" \"$@\"\n"); err != nil {
			return err
		}
	}
	if err := s.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\n"); err != nil {
		return err
	}
	// The user of a monitoring system has a cache directory, but the user nobody has none.
	if _, err := s.c.Output(s.ctx, "install", "-d", "-o", "nobody", cacheDir); err != nil {
		return err
	}
	if err := site.CreateZvol(s.ctx, diskA, 16); err != nil {
		return err
	}
	return s.a.AddVM(100, "vm-100-disk-0")
}

func (s *stage) running() {
	say("Guest 100 runs on node A. Cron runs snapwatch there every 15 minutes.")
	s.do(s.a.StartGuest(s.ctx, 100))
	s.root(s.a, 0, "snapwatch snap f48 h24 d30")
	s.root(s.a, 0, "zfs list -t snapshot -o name,creation "+diskA)
	s.root(s.a, 0, "zfs get -H -o property,value,source label:running "+diskA)
	say("syncoid copies the disk to C, outside the cluster. On C the check needs no root.")
	s.root(s.c, 0, "syncoid --no-sync-snap --quiet "+diskA+" "+diskC)
	s.user(s.c, 0, "snapwatch check")
	s.metrics()
}

func (s *stage) stopped() {
	say("The guest is shut down. The next run takes a last snapshot and labels the disk as stopped.")
	s.do(s.a.StopGuest(100))
	s.root(s.a, 0, "snapwatch snap f48 h24 d30")
	s.root(s.a, 0, "zfs list -H -t snapshot -o name "+diskA)
	s.root(s.a, 0, "zfs get -H -o property,value,source label:running "+diskA)
	s.root(s.c, 0, "syncoid --no-sync-snap --quiet "+diskA+" "+diskC)
	say("A day later (the clock is set forward) the check on C does not alarm, because the guest was stopped.")
	s.advanceClock(24 * time.Hour)
	s.root(s.a, 0, "snapwatch snap f48 h24 d30")
	s.user(s.c, 0, "snapwatch check -v")
}

func (s *stage) started() {
	say("The guest is started. The next run labels the disk and takes a snapshot.")
	s.do(s.a.StartGuest(s.ctx, 100))
	s.root(s.a, 0, "snapwatch snap f48 h24 d30 -v")
	s.root(s.c, 0, "syncoid --no-sync-snap --quiet "+diskA+" "+diskC)
	s.user(s.c, 0, "snapwatch check")
}

func (s *stage) broken() {
	say("Replication breaks. A continues to take snapshots, but C receives none. The check first warns, then becomes critical.")
	s.advanceClock(3 * time.Hour)
	s.root(s.a, 0, "snapwatch snap f48 h24 d30")
	s.user(s.c, 1, "snapwatch check -v")
	s.advanceClock(4 * time.Hour)
	s.user(s.c, 2, "snapwatch check -v")
	s.metrics()
	say("Replication works again.")
	s.root(s.a, 0, "snapwatch snap f48 h24 d30")
	s.root(s.c, 0, "syncoid --no-sync-snap --quiet "+diskA+" "+diskC)
	s.user(s.c, 0, "snapwatch check")
}

func (s *stage) failover() {
	say("A fails, and the guest is started on B, from its copy there. Now C receives from B.")
	s.root(s.b, 0, "syncoid --no-sync-snap --quiet "+diskA+" "+diskB)
	s.do(s.a.KillGuest(100))
	s.do(s.a.MoveGuestTo(100, s.b))
	s.do(s.b.StartGuest(s.ctx, 100))
	s.root(s.b, 0, "snapwatch snap f48 h24 d30")
	s.root(s.b, 0, "zfs get -H -o property,value,source label:running "+diskB)
	s.root(s.c, 0, "syncoid --no-sync-snap --quiet "+diskB+" "+diskC)
	s.user(s.c, 0, "snapwatch check -v")
}

// metrics prints the metrics that Prometheus would read on C, by running curl as an unprivileged
// user.
func (s *stage) metrics() {
	if s.err != nil {
		return
	}
	exporter, err := s.c.Start(s.ctx, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
		s.program, "exporter", "--web.listen-address=127.0.0.1:10191")
	if err != nil {
		s.err = err
		return
	}
	defer exporter.Stop()
	if s.err = exporter.WaitFor(s.ctx, "127.0.0.1:10191"); s.err == nil {
		s.user(s.c, 0, "curl -s http://127.0.0.1:10191/metrics | grep -E '^snapwatch_disk_newest.*(age|timestamp|stopped|daily)'")
	}
}

func say(text string) { fmt.Printf("\n\033[1m%s\033[0m\n", text) }

func (s *stage) do(err error) {
	if s.err == nil {
		s.err = err
	}
}

// root runs a command line as root on a host, and prints the command line and its output.
func (s *stage) root(host *site.Site, want int, line string) {
	s.show(host, "#", want, line, func() (site.Result, error) { return host.Run(s.ctx, "sh", "-c", line) })
}

// cacheDir is the cache directory of the unprivileged user. check uses it to remember disks.
const cacheDir = "/var/cache/snapwatch-demo"

// user runs a command line as an unprivileged user on a host, and prints the command line and its
// output.
func (s *stage) user(host *site.Site, want int, line string) {
	s.show(host, "$", want, line, func() (site.Result, error) {
		return host.RunAs(s.ctx, "nobody", "env", "XDG_CACHE_HOME="+cacheDir, "sh", "-c", line)
	})
}

func (s *stage) show(host *site.Site, prompt string, want int, line string, run func() (site.Result, error)) {
	if s.err != nil {
		return
	}
	fmt.Printf("%s%s %s\n", host.Name, prompt, line)
	r, err := run()
	if err != nil {
		s.err = err
		return
	}
	fmt.Print(indent(r.Stdout + r.Stderr))
	if r.Code != 0 {
		fmt.Printf("   exit status %d\n", r.Code)
	}
	if r.Code != want {
		s.err = fmt.Errorf("the exit status is %d instead of %d", r.Code, want)
	}
}

func indent(text string) string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return ""
	}
	return "   " + strings.ReplaceAll(text, "\n", "\n   ") + "\n"
}

// advanceClock moves the clock of the lab's machine forward.
func (s *stage) advanceClock(d time.Duration) {
	to := syscall.NsecToTimeval(time.Now().Add(d).UnixNano())
	s.do(syscall.Settimeofday(&to))
}
