// Package site puts several hosts into one virtual machine, for tests: each Site
// has its own root file system, host name, network and uptime, so that programs
// run in it with their default paths, and shares the machine's kernel with the
// others, and with it ZFS. Sites of one cluster see the same guests in /etc/pve.
//
// Proxmox's own programs are stand-ins, see test/standin; all else is real. It
// needs root and is meant for the lab, see test/lab: nothing here is careful with
// the machine it runs on.
package site

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Config says what a site is like.
type Config struct {
	Name string // of the site, such as A: letters and digits
	// Hostname is the node's name unless given.
	Hostname string
	// Node makes the site a Proxmox node of this name; without it, it is a host
	// that has no Proxmox at all.
	Node string
	// Cluster is what the node is a member of; a node without one stands alone.
	Cluster string
	// Pool is where the storage local-zfs keeps the disks, as POOL/data. Each node
	// has its own, under the same storage name.
	Pool string
	// Storage is /etc/pve/storage.cfg, where it shall be another than usual.
	Storage string
	// Address, such as 192.0.2.1/24, connects the site to the others and to the
	// machine, which is 192.0.2.254; without it there is only its loopback.
	Address string
	// Uptime is what the site seems to be up already, a day unless given.
	Uptime time.Duration
	// Bin holds scripts by name, which come before all other programs of that
	// name. They find the real one by its path.
	Bin map[string]string
	// Env is added to the environment of everything that runs here.
	Env []string
	// Standin is the stand-in binary, "standin" beside this program unless given.
	Standin string
}

// Site is one host.
type Site struct {
	Config
	dir string

	mu     sync.Mutex
	guests map[int]*Process
}

// base is where all sites' namespaces are kept.
const base = "/run/sites"

//go:embed setup.sh
var setup string

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// Start makes a site.
func Start(ctx context.Context, c Config) (*Site, error) {
	if !nameForm.MatchString(c.Name) {
		return nil, fmt.Errorf("site: the name %q is not of letters and digits", c.Name)
	}
	if c.Node != "" && c.Cluster == "" {
		c.Cluster = c.Node
	}
	if c.Hostname == "" {
		c.Hostname = c.Node
	}
	if c.Hostname == "" {
		c.Hostname = c.Name
	}
	if c.Uptime == 0 {
		c.Uptime = 24 * time.Hour
	}
	if c.Standin == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		c.Standin = filepath.Join(filepath.Dir(self), "standin")
	}
	s := &Site{Config: c, dir: filepath.Join(base, c.Name), guests: map[int]*Process{}}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("site %s: %w", c.Name, err), s.Close())
	}
	return s, nil
}

// namespaces are those a site has of its own, as unshare(1) and nsenter(1) call
// them; files of these names in the site's directory keep them alive.
var namespaces = [...]string{"mount", "uts", "net", "time"}

func (s *Site) namespace(name string) string { return filepath.Join(s.dir, name) }

func (s *Site) start(ctx context.Context) error {
	if err := makeBase(); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	if err := s.layout(); err != nil {
		return err
	}
	script := filepath.Join(s.dir, "setup.sh")
	if err := os.WriteFile(script, []byte(setup), 0o755); err != nil {
		return err
	}
	argv := []string{"unshare", "--fork", "--boottime", strconv.Itoa(int(s.Uptime.Seconds())), "--propagation", "private"}
	for _, n := range namespaces {
		argv = append(argv, "--"+n+"="+s.namespace(n))
	}
	argv = append(argv, script, s.dir, s.Hostname)
	if s.Node != "" {
		argv = append(argv, s.clusterDir())
	}
	if _, err := run(ctx, argv...); err != nil {
		return err
	}
	if s.Address != "" {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	for name, text := range s.Bin {
		if err := s.Install(name, text); err != nil {
			return err
		}
	}
	return nil
}

// makeBase mounts the place where namespaces can be kept: where mounts spread to
// other namespaces, the kernel refuses to keep one.
func makeBase() error {
	if err := os.Mkdir(base, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	if err := syscall.Mount("sites", base, "tmpfs", 0, "mode=755"); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return os.NewSyscallError("mount", syscall.Mount("", base, "", syscall.MS_PRIVATE, ""))
}

// connect joins the site's network to a bridge.
func (s *Site) connect(ctx context.Context) error {
	const bridge = "sites"
	link := "site-" + s.Name
	var steps [][]string
	if _, err := os.Stat("/sys/class/net/" + bridge); errors.Is(err, fs.ErrNotExist) {
		steps = append(steps,
			[]string{"ip", "link", "add", bridge, "type", "bridge"},
			[]string{"ip", "address", "add", "192.0.2.254/24", "dev", bridge},
			[]string{"ip", "link", "set", bridge, "up"})
	}
	steps = append(steps,
		[]string{"ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", s.namespace("net")},
		[]string{"ip", "link", "set", link, "master", bridge, "up"},
		s.enter("ip", "address", "add", s.Address, "dev", "eth0"),
		s.enter("ip", "link", "set", "eth0", "up"))
	for _, argv := range steps {
		if _, err := run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) clusterDir() string { return filepath.Join(base, "cluster-"+s.Cluster) }

// Close ends all processes of the site and removes it.
func (s *Site) Close() error {
	var errs []error
	processes, err := s.Processes()
	errs = append(errs, err)
	for _, p := range processes {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	s.mu.Lock()
	for _, g := range s.guests {
		g.Wait()
	}
	s.guests = map[int]*Process{}
	s.mu.Unlock()
	for _, n := range namespaces {
		// Fails where the start did not come so far.
		_ = syscall.Unmount(s.namespace(n), syscall.MNT_DETACH)
	}
	if s.Node != "" {
		errs = append(errs, os.RemoveAll(filepath.Join(s.clusterDir(), "nodes", s.Node)))
		// The last node takes the cluster with it.
		if rest, err := os.ReadDir(filepath.Join(s.clusterDir(), "nodes")); err == nil && len(rest) == 0 {
			errs = append(errs, os.RemoveAll(s.clusterDir()))
		}
	}
	errs = append(errs, os.RemoveAll(s.dir))
	return errors.Join(errs...)
}
