// Package site plays several hosts in one virtual machine, for tests. Each Site has its own root
// file system, host name, network and uptime, so that programs in a site run with their default
// paths. All sites share the machine's kernel and therefore ZFS. Sites of one cluster see the
// same guests in /etc/pve.
//
// Proxmox's own programs are stand-ins, see test/standin; all other programs are real. Package
// site needs root and is meant only for the lab's virtual machine, see test/lab: on another
// machine, it may do damage.
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

// Config holds the settings of a site.
type Config struct {
	Name string // name of the site, such as A: letters and digits
	// Hostname is the site's host name; the default is Node, or Name if Node is empty.
	Hostname string
	// Node is the name of the site's Proxmox node; empty for a host without Proxmox.
	Node string
	// Cluster is the name of the node's cluster; a node with an empty Cluster is in no cluster.
	Cluster string
	// Pool is the node's pool for Proxmox's storage local-zfs, which has its disks below POOL/data.
	// Each node of a cluster must have a pool of its own.
	Pool string
	// Storage is the content of the site's /etc/pve/storage.cfg; empty for the usual content.
	Storage string
	// Address, such as 192.0.2.1/24, connects the site to the other sites and to the machine,
	// whose address is 192.0.2.254. A site without an address has only the loopback interface.
	Address string
	// Uptime is the uptime that the site shows at its start; 0 means a day.
	Uptime time.Duration
	// Bin has scripts, by program name. In the site, each script runs in place of the real program
	// of the same name. The script can call the real program by the program's path.
	Bin map[string]string
	// Env contains additional environment variables of each process of the site.
	Env []string
	// Standin is the path of the program that replaces Proxmox's programs; the default is
	// "standin" in the directory of the test program.
	Standin string
}

// Site is one simulated host.
type Site struct {
	Config
	dir string

	mu     sync.Mutex
	guests map[int]*Process
}

// base is the directory for the namespace files of all sites.
const base = "/run/sites"

//go:embed setup.sh
var setup string

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// Start creates a site with the given settings.
func Start(ctx context.Context, c Config) (*Site, error) {
	if !nameForm.MatchString(c.Name) {
		return nil, fmt.Errorf("site: the name %q must consist of letters and digits", c.Name)
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

// namespaces lists the kinds of namespaces that each site has for itself, under their names in
// unshare(1) and nsenter(1). For each kind, a file in the site's directory keeps the site's
// namespace of this kind alive.
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

// makeBase mounts a private file system for the files of the sites' namespaces, because the
// kernel refuses to keep a namespace on a mount that propagates to other namespaces.
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

// connect connects the site's network to the bridge of all sites.
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

// Close ends all processes of the site and removes the site.
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
		// Unmount fails if the start of the site failed before the namespace file was mounted;
		// the error is ignored.
		_ = syscall.Unmount(s.namespace(n), syscall.MNT_DETACH)
	}
	if s.Node != "" {
		errs = append(errs, os.RemoveAll(filepath.Join(s.clusterDir(), "nodes", s.Node)))
		// When the last node of a cluster is closed, the cluster's files are removed, too.
		if rest, err := os.ReadDir(filepath.Join(s.clusterDir(), "nodes")); err == nil && len(rest) == 0 {
			errs = append(errs, os.RemoveAll(s.clusterDir()))
		}
	}
	errs = append(errs, os.RemoveAll(s.dir))
	return errors.Join(errs...)
}
