package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/remote"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/exporter"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
)

// exporterCmd is `snapwatch exporter`. The flags of the command have the names that are usual for
// Prometheus exporters.
type exporterCmd struct {
	Listen        []string `name:"web.listen-address" default:":10191" placeholder:"ADDRESS" help:"Listen on this address; may be repeated (default ${default})."`
	WebConfig     string   `name:"web.config.file" placeholder:"FILE" help:"The file with TLS and passwords, in the format of exporter-toolkit's web configuration."`
	AllowedHost   []string `name:"web.allowed-host" placeholder:"NAME" help:"A further host name under which the page can be requested: the name that a proxy or tunnel on this host uses; may be repeated."`
	SystemdSocket bool     `name:"web.systemd-socket" help:"Listen on the socket that systemd passes."`
	Path          string   `name:"web.telemetry-path" default:"/metrics" placeholder:"PATH" help:"The path of the metrics (default ${default})."`
	NoOwnMetrics  bool     `name:"web.disable-exporter-metrics" help:"Leave out metrics about the exporter itself (go_*, process_*, promhttp_*)."`
	LogFormat     string   `name:"log.format" enum:"logfmt,json" default:"logfmt" help:"The log's format: logfmt or json."`
	LogLevel      string   `name:"log.level" enum:"debug,info,warn,error" default:"info" help:"What to log: debug, info, warn or error."`

	Config      string        `placeholder:"FILE" help:"Read this configuration instead of the default one."`
	StateDir    string        `default:"/var/lib/snapwatch-exporter" env:"STATE_DIRECTORY" placeholder:"DIR" help:"The directory in which the exporter remembers the disks that it saw: a remembered disk that is gone counts as missing (default ${default})."`
	ScanTimeout time.Duration `default:"2m" placeholder:"TIME" help:"Give up a listing after this time (default ${default})."`
	MaxDataAge  time.Duration `default:"10m" placeholder:"TIME" help:"Call a disk unreadable when its last reading is older than this time. Two scrape intervals suit (default ${default})."`
}

// Help returns the long help text of `snapwatch exporter`.
func (exporterCmd) Help() string {
	return `It serves the verdicts of check at /metrics, a page for people at /, and the API with which other
sites ask the owner of a guest. On an address that is not loopback it serves only the metrics,
unless --web.config.file asks for a password or a client certificate.
It needs no root. snapwatch-exporter.service runs it; its flags stand in
/etc/default/snapwatch-exporter. SIGHUP makes it read a changed configuration at once.

EXAMPLES
  snapwatch exporter
  snapwatch exporter --web.listen-address 127.0.0.1:10191`
}

// Run serves metrics, page and API over HTTP until a signal ends the exporter.
func (c *exporterCmd) Run(env *environment) error {
	// The exporter catches SIGHUP before it does anything else, because an unhandled SIGHUP would
	// end the process.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	log := c.logger(env)
	var owners exporterOwners
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := owners.follow(cfg); err != nil {
		return err
	}
	metrics, err := c.metricsPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
		log.Warn("the disks seen will be forgotten at a restart", "err", err)
		c.StateDir = ""
	}
	store := exporter.NewStore(exporter.Settings{
		Ask:        owners.ask,
		Config:     cfg,
		ConfigFile: cmp.Or(c.Config, env.ConfigPath),
		UseConfig:  owners.follow,
		Scanner:    scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now},
		Owners:     env.PVE.Owners,
		NoGuests:   !env.PVE.Installed(),
		Living:     env.living,
		Uptime:     env.PVE.Uptime,
		Runs: exporter.Runs{
			Last:     func() (report.Run, error) { return env.lastRun(report.Name) },
			Expected: func() bool { return registered(env) },
			Limit:    func() time.Duration { return report.SnapLimit(snapPeriod(env)) },
		},
		Prunes: exporter.Runs{
			Last:     func() (report.Run, error) { return env.lastRun(report.PruneName) },
			Expected: func() bool { return pruneJob.registered(env) },
			Limit:    func() time.Duration { return report.PruneLimit(pruneJob.period(env)) },
		},
		DamageReport: filepath.Join(env.StateDir, scan.DamageName),
		Drills:       filepath.Join(env.StateDir, checker.ProofsName),
		StateDir:     c.StateDir,
		ScanTimeout:  c.ScanTimeout,
		MaxDataAge:   c.MaxDataAge,
		Reuse:        5 * time.Second,
		Log:          log,
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		for {
			select {
			case <-reload:
				store.Reload()
			case <-ctx.Done():
				return
			}
		}
	}()
	host, _ := os.Hostname() // the page omits an empty host name
	server := exporter.Server{
		Host: host, Version: version, AllowedHosts: c.AllowedHost,
		Listen: c.Listen, SystemdSocket: c.SystemdSocket, WebConfig: c.WebConfig,
		MetricsPath: metrics, OwnMetrics: !c.NoOwnMetrics, Log: log,
	}
	return server.Serve(ctx, store)
}

// exporterOwners asks other nodes about the disks of their guests. The names of the nodes to ask
// are in the configuration that the exporter last read.
type exporterOwners struct {
	current atomic.Pointer[exporterAsk]
}

type exporterAsk struct {
	nodes  remote.Owners
	origin func(disk string) (cluster, dataset string)
}

func (o *exporterOwners) follow(cfg config.Config) error {
	nodes, err := remote.NewOwners(cfg.Owners)
	if err == nil {
		o.current.Store(&exporterAsk{nodes, cfg.OriginOf})
	}
	return err
}

func (o *exporterOwners) ask(ctx context.Context, timeout time.Duration, r checker.Report) (map[string][]checker.Evidence, []checker.NodeAnswer) {
	a := o.current.Load()
	if !a.nodes.Configured() {
		return nil, nil
	}
	return a.nodes.Ask(ctx, timeout, r, a.origin)
}

// lastRun returns the report of the last run of snap or prune, without facts that are too old. If
// the time of the last success is in the future, lastRun removes the time from the report, because
// Prometheus would treat the success as recent until this time has passed.
func (e *environment) lastRun(name string) (report.Run, error) {
	last, err := report.LoadFile(e.StateDir, name)
	now := e.Now()
	last.LastSuccess, last.Backlogs, last.Rooms = last.SuccessBefore(now), last.BacklogsAt(now), last.RoomsAt(now)
	return last, err
}

// runs returns the facts about the last runs of snap and prune on this host that check needs.
func (e *environment) runs() (snap, prune checker.Runs) {
	up, _ := e.PVE.Uptime() // 0 if the uptime is unknown
	read := func(name string, expected bool, limit time.Duration) checker.Runs {
		r := checker.Runs{Expected: expected, Limit: limit, Up: up}
		last, err := e.lastRun(name)
		switch {
		case err == nil:
			r.Last = &last
		case !errors.Is(err, fs.ErrNotExist):
			r.Problem = err.Error()
		}
		return r
	}
	return read(report.Name, registered(e), report.SnapLimit(snapPeriod(e))),
		read(report.PruneName, pruneJob.registered(e), report.PruneLimit(pruneJob.period(e)))
}

// living reports whether a guest's process is alive on this host, and returns the time when the
// process started.
func (e *environment) living(vmid int) (since time.Time, alive bool) {
	for kind, made := range map[pve.Kind]string{
		pve.QEMU: filepath.Join(e.PVE.Run, "qemu-server", strconv.Itoa(vmid)+".pid"),
		pve.LXC:  e.PVE.ContainerCgroup(vmid),
	} {
		if lives, err := e.PVE.Process(pve.ID{Kind: kind, VMID: vmid}); err != nil || !lives {
			continue
		}
		if info, err := os.Stat(made); err == nil {
			since = info.ModTime()
		}
		return since, true
	}
	return time.Time{}, false
}

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+$`)

// metricsPath returns the URL path at which the exporter serves metrics. The error is the reason
// why the exporter cannot serve metrics at the configured path.
func (c *exporterCmd) metricsPath() (string, error) {
	clean := path.Clean(c.Path)
	taken := func(prefix string) bool { return strings.HasPrefix(clean+"/", prefix) }
	switch {
	case !plainPath.MatchString(clean):
		return "", fmt.Errorf("--web.telemetry-path %q: a path such as /metrics is needed, of letters, digits, _, . and -", c.Path)
	case taken("/-/"), taken("/api/"), taken("/page/"):
		return "", fmt.Errorf("--web.telemetry-path %q: the exporter serves something else there; choose a path that is not below /-/, /api/ or /page/", c.Path)
	}
	return clean, nil
}

func (c *exporterCmd) logger(env *environment) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // kong accepts only valid levels
	return newLogger(env, c.LogFormat, level)
}

// newLogger returns a logger that writes logfmt or JSON to standard error.
func newLogger(env *environment, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(env.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(env.Stderr, options))
}
