package site

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// storages is the content of /etc/pve/storage.cfg: one storage for this node's disks, and other
// storages that snapwatch must ignore.
const storages = `dir: local
	path /var/lib/vz
	content iso,vztmpl,backup

zfspool: local-zfs
	pool %[1]s/data
	content rootdir,images
	sparse 1

zfspool: switched-off
	disable
	pool %[1]s/switched-off
	content images

zfspool: other-node
	pool other/data
	content images
	nodes pve-other
`

// layout creates the site's own files and directories: a separate /run, and files that replace
// files of the machine.
func (s *Site) layout() error {
	run, upper := filepath.Join(s.dir, "run"), filepath.Join(s.dir, "upper")
	dirs := []string{
		filepath.Join(run, "lock"), filepath.Join(run, "udev"), filepath.Join(run, "systemd"), filepath.Join(run, "dbus"),
		filepath.Join(upper, "etc"), filepath.Join(s.dir, "work"), filepath.Join(s.dir, "root"),
	}
	links := map[string]string{}
	files := map[string]string{filepath.Join(upper, "etc/hostname"): s.Hostname + "\n"}
	for _, namespace := range namespaces {
		files[s.namespace(namespace)] = ""
	}
	if s.Node != "" {
		pve, cluster := filepath.Join(upper, "etc/pve"), s.clusterDir()
		for _, d := range []string{"qemu-server", "lock/qemu-server", "lock/lxc", "lock/pve-manager"} {
			dirs = append(dirs, filepath.Join(run, d))
		}
		for _, d := range []string{"ha", "nodes/" + s.Node + "/qemu-server", "nodes/" + s.Node + "/lxc"} {
			dirs = append(dirs, filepath.Join(cluster, d))
		}
		dirs = append(dirs, filepath.Join(pve, "nodes"), filepath.Join(pve, "ha"),
			filepath.Join(upper, "usr/bin"), filepath.Join(upper, "var/lib/lxc"))
		links[filepath.Join(pve, "local")] = "nodes/" + s.Node
		links[filepath.Join(pve, "qemu-server")] = "local/qemu-server"
		links[filepath.Join(pve, "lxc")] = "local/lxc"
		for _, name := range []string{"pvesh", "kvm", "lxc-start", "pmxcfs", "qm", "pct", "vzdump", "pvesr"} {
			links[filepath.Join(upper, "usr/bin", name)] = s.Standin
		}
		files[filepath.Join(pve, "storage.cfg")] = s.Storage
		if s.Storage == "" {
			files[filepath.Join(pve, "storage.cfg")] = fmt.Sprintf(storages, s.Pool)
		}
	}
	var errs []error
	for _, d := range dirs {
		errs = append(errs, os.MkdirAll(d, 0o755))
	}
	for name, target := range links {
		errs = append(errs, os.Symlink(target, name))
	}
	for name, content := range files {
		errs = append(errs, os.WriteFile(name, []byte(content), 0o644))
	}
	errs = append(errs, os.Chmod(filepath.Join(run, "lock"), 0o1777|os.ModeSticky))
	return errors.Join(errs...)
}
