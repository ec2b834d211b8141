// Page serves the status page over real pools in the lab's machine. A browser outside the machine
// reads the page. The browser's test asks this program to change the pools: see test/browser.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// The constant address is the machine's address in QEMU's network. exporterPort and controlPort are
// the two ports that QEMU forwards to the machine: one to the exporter, one to this program.
const (
	address      = "10.0.2.15"
	exporterPort = ":10191"
	controlPort  = ":10192"
)

// webConfig makes the exporter require the user name and password lab, because the machine's
// address is not a loopback address.
const webConfig = "basic_auth_users:\n  lab: $2a$04$MjHGr2oP3tzVHjASWVavauQhLMeG3AerXeaAGPvVkkgi9s/YrleI2\n"

// The two test disks are in separate pools.
const (
	healthy   = "tank/pve/vm-100-disk-0"
	suspended = "frail/vm-101-disk-0"
)

func main() {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	if err := prepare(ctx); err != nil {
		return err
	}
	exporter, err := startExporter(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = exporter.Process.Kill() }()
	ended := make(chan error, 2)
	go func() { ended <- exporter.Wait() }()
	go func() { ended <- control(ctx) }()
	return <-ended
}

// connect brings up the machine's only network card; udev may give the card any name.
func connect(ctx context.Context) error {
	if err := run(ctx, "modprobe", "virtio_net"); err != nil {
		return err
	}
	if err := run(ctx, "udevadm", "settle"); err != nil {
		return err
	}
	cards, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil {
		return err
	}
	if len(cards) != 1 {
		return fmt.Errorf("%d network cards instead of one", len(cards))
	}
	card := filepath.Base(filepath.Dir(cards[0]))
	if err := run(ctx, "ip", "address", "add", address+"/24", "dev", card); err != nil {
		return err
	}
	return run(ctx, "ip", "link", "set", card, "up")
}

func prepare(ctx context.Context) error {
	if err := connect(ctx); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"modprobe", "loop"},
		{"truncate", "-s", "256M", "/tmp/frail.vdev"},
		{"losetup", "/dev/loop0", "/tmp/frail.vdev"},
		{"dmsetup", "create", "frail", "--table", linear},
		{"udevadm", "settle"},
		{"zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "frail", "/dev/mapper/frail"},
	} {
		if err := run(ctx, argv...); err != nil {
			return err
		}
	}
	if err := site.NewPool(ctx, "tank", 256); err != nil {
		return err
	}
	for _, disk := range []string{healthy, suspended} {
		if err := site.CreateZvol(ctx, disk, 16); err != nil {
			return err
		}
		if err := snapshot(ctx, disk); err != nil {
			return err
		}
	}
	return nil
}

// The device-mapper tables of the device below the pool `frail`. With the table `linear` the device
// works, with the table `broken` it fails.
const (
	linear = "0 524288 linear /dev/loop0 0"
	broken = "0 524288 error"
)

func run(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

func snapshot(ctx context.Context, disk string) error {
	return run(ctx, "zfs", "snapshot", disk+"@"+zfs.FormatSnapshotName(time.Now(), zfs.Hourly))
}

func startExporter(ctx context.Context) (*exec.Cmd, error) {
	if err := os.WriteFile("/tmp/web.yml", []byte(webConfig), 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", filepath.Join(filepath.Dir(self), "snapwatch"),
		"exporter", "--web.listen-address="+address+exporterPort, "--web.config.file=/tmp/web.yml", "--state-dir=/tmp/exporter")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, cmd.Start()
}

// deeds are the changes of pools and clock that the browser test may request, by name.
var deeds = map[string]func(context.Context) error{
	// The action `snapshot` takes a new snapshot of the disk in the healthy pool.
	"snapshot": func(ctx context.Context) error { return snapshot(ctx, healthy) },
	// The action `later` moves the machine's clock forward by three hours.
	"later": func(context.Context) error {
		now := syscall.NsecToTimeval(time.Now().Add(3 * time.Hour).UnixNano())
		return syscall.Settimeofday(&now)
	},
	"suspend": func(ctx context.Context) error {
		return table(ctx, broken, func() error {
			// zfs snapshot does not end while the pool is suspended, because it writes to the pool.
			go func() { _ = run(ctx, "zfs", "snapshot", "frail@x") }()
			return await(ctx, func() bool { return zfs.CheckPool(zfs.KstatDir, "frail") != nil })
		})
	},
	"resume": func(ctx context.Context) error {
		return table(ctx, linear, func() error { return run(ctx, "zpool", "clear", "frail") })
	},
}

// table replaces the device-mapper table of the device below the pool `frail`. Afterwards table
// calls the function in the argument `then`.
func table(ctx context.Context, to string, then func() error) error {
	for _, argv := range [][]string{
		{"dmsetup", "suspend", "--nolockfs", "--noflush", "frail"},
		{"dmsetup", "load", "frail", "--table", to},
		{"dmsetup", "resume", "frail"},
	} {
		if err := run(ctx, argv...); err != nil {
			return err
		}
	}
	return then()
}

func await(ctx context.Context, is func() bool) error {
	for range 1200 {
		if is() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("the awaited state was not reached within a minute")
}

// control is the server for the browser test. control carries out each action that a POST requests,
// until a POST requests the action "end".
func control(ctx context.Context) error {
	end := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{deed}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("deed")
		if name == "end" {
			close(end)
			return
		}
		deed, known := deeds[name]
		if !known {
			http.NotFound(w, r)
			return
		}
		if err := deed(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := &http.Server{Addr: address + controlPort, Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		<-end
		_ = server.Shutdown(ctx)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
