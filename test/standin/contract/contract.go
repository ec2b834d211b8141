// Package contract says how Proxmox VE answers and what it locks, call by call, as far as
// snapwatch relies on it. The stand-ins do what stands here, docs/proxmox-contract.md is
// made from it, and tools/probe-node asks a real node.
package contract

import (
	"fmt"
	"strings"
	"time"
)

// How long Proxmox waits for locks before it says "got timeout".
const (
	ConfigWait    = 10 * time.Second
	MigrateWait   = 10 * time.Second
	ReplicateWait = 2 * time.Second
	CleanupWait   = 60 * time.Second
	CloneWait     = time.Second
	BackupWait    = 600 * time.Second
)

// Lock is a flock(2) that Proxmox takes.
type Lock string

// The locks, by what they guard.
const (
	// Config is /run/lock/qemu-server/lock-ID.conf, or /run/lock/lxc/pve-config-ID.lock.
	Config Lock = "config"
	// Migrate is /var/lock/pve-manager/pve-migrate-ID.
	Migrate Lock = "pve-migrate"
)

// Seen says how a row is known.
type Seen string

// The ways, the surest first.
const (
	// Node was seen on a node of Proxmox VE.
	Node Seen = "on a node"
	// Code was seen of Proxmox's own code, run outside a node.
	Code Seen = "run"
	// Read was read in the source, and not run.
	Read Seen = "read"
	// Guessed has no source. Nothing that is dangerous may depend on it.
	Guessed Seen = "*guessed*"
)

// Row is one call in one state of the guest.
type Row struct {
	Call, State string
	// Answer is what comes back, and in which order what is done.
	Answer string
	// Locks are those that are held while it is done, in the order in which they are taken.
	Locks []Held
	// File, Function and Version are where Proxmox does it; empty where that is guessed.
	File, Function, Version string
	Seen                    Seen
}

// Held is a lock with the time for which Proxmox waits for it, and until when it is held.
type Held struct {
	Lock  Lock
	Wait  time.Duration
	Until string
}

// Versions of the sources that were read.
const (
	qemuServer  = "qemu-server 9.2.6"
	guestCommon = "libpve-guest-common-perl 6.0.2"
	container   = "pve-container 6.1.10"
	manager     = "pve-manager 9.2.11"
	common      = "libpve-common-perl 9.2.1"
	storage     = "libpve-storage-perl 9.1.7"
)

// Timeout is what Proxmox says when it waited for a lock in vain; it ends with status 255.
func Timeout(path string) string { return fmt.Sprintf("can't lock file '%s' - got timeout", path) }

func config(until string) []Held { return []Held{{Config, ConfigWait, until}} }

// Rows is the contract.
var Rows = []Row{
	{"any call that takes a flock", "somebody else holds it", `"trying to acquire lock...", then "can't lock file '…' - got timeout", status 255`, nil,
		"PVE/Tools.pm", "lock_file_full", common, Code},
	{"qm start", "stopped", "starts QEMU, whose pid file is there when it returns", config("QEMU runs"), "PVE/QemuServer.pm", "vm_start", qemuServer, Code},
	{"any call that takes the config flock, but backup's own and those of unlock", "a lock word in the configuration", `"VM is locked (WORD)", or "CT is locked (WORD)", status 255`, config("it said so"), "PVE/AbstractConfig.pm", "check_lock", guestCommon, Read},
	{"qm stop, qm shutdown", "running", "ends QEMU, and returns when its process is gone", config("the process is gone"), "PVE/QemuServer.pm", "vm_stop", qemuServer, Code},
	{"qm reboot", "running", "notes the wish in /run/qemu-server/ID.reboot, ends QEMU; cleanup starts it again", config("the process is gone"), "PVE/QemuServer.pm", "vm_reboot", qemuServer, Code},
	{"qm cleanup", "stopped just now, called by qmeventd", "removes what is left, takes the wish for a reboot and starts the guest again after it", []Held{{Config, CleanupWait, "it is clean"}}, "PVE/CLI/qm.pm", "cleanup", qemuServer, Read},
	{"qm rollback, pct rollback", "running or stopped", "looks whether the snapshot is the newest of each disk, then stops the guest, then writes lock: rollback; then zfs rollback of each disk; then the configuration of the snapshot and no lock", []Held{{Migrate, MigrateWait, "all is done"}, {Config, ConfigWait, "lock: rollback is written, and again for the end"}}, "PVE/AbstractConfig.pm", "snapshot_rollback", guestCommon, Code},
	{"qm rollback, pct rollback", "a snapshot that is newer on a disk", `"can't rollback, 'S' is not most recent snapshot on 'STORAGE:DISK'", status 255, nothing is changed`, []Held{{Migrate, MigrateWait, "it said so"}, {Config, ConfigWait, "it said so"}}, "PVE/Storage/ZFSPoolPlugin.pm", "volume_rollback_is_possible", storage, Read},
	{"qm rollback, pct rollback", "a snapshot, or a bookmark, that comes between the look and the end", "zfs rollback fails, status 255; the guest is off with lock: rollback", []Held{{Migrate, MigrateWait, "it failed"}, {Config, ConfigWait, "lock: rollback is written"}}, "PVE/AbstractConfig.pm", "snapshot_rollback", guestCommon, Code},
	{"qm snapshot, pct snapshot", "any but a template", "writes the word snapshot and a section; takes the snapshot of each disk, of a machine with an agent frozen; removes the word", config("the word is written, and again for its end"), "PVE/AbstractConfig.pm", "snapshot_create", guestCommon, Read},
	{"qm delsnapshot, pct delsnapshot", "any", "writes the word snapshot-delete, destroys the snapshot of each disk, removes word and section", []Held{{Migrate, MigrateWait, "all is done"}, {Config, ConfigWait, "the word is written, and again for its end"}}, "PVE/AbstractConfig.pm", "snapshot_delete", guestCommon, Read},
	{"qm migrate", "running or stopped", "writes lock: migrate, moves the disks, then the configuration to the other node; ends QEMU here, destroys what was not replicated, removes the word there. The disks of a machine that runs are mirrored to new ones without snapshots", []Held{{Migrate, MigrateWait, "all is done"}, {Config, ConfigWait, "all is done"}}, "PVE/AbstractMigrate.pm", "migrate", guestCommon, Read},
	{"pct migrate", "running, without --restart", `"running container can only be migrated in restart mode", status 255`, []Held{{Migrate, MigrateWait, "it said so"}, {Config, ConfigWait, "it said so"}}, "PVE/LXC/Migrate.pm", "prepare", container, Read},
	{"pct migrate --restart", "running", "stops the container, and only then writes lock: migrate; sends the disks, moves the configuration, destroys them here, removes the word and starts there", []Held{{Migrate, MigrateWait, "all is done"}, {Config, ConfigWait, "all is done"}}, "PVE/LXC/Migrate.pm", "prepare, phase1, phase3, final_cleanup", container, Read},
	{"qm disk move", "running or stopped", "copies the disk and then names the copy in the configuration; no lock word", config("all is copied"), "PVE/API2/Qemu.pm", "move_vm_disk", qemuServer, Read},
	{"pct move-volume", "stopped", "writes lock: disk, copies, names the copy in the configuration, removes the word; refuses one that runs", config("the word is written, and again for the name and the end"), "PVE/API2/LXC.pm", "move_volume", container, Read},
	{"qm template, pct template", "stopped, without snapshots of Proxmox's", "renames each disk to base-ID-disk-N or basevol-ID-disk-N and takes @__base__ of it; a machine's configuration says template before that, a container's after", config("all is renamed"), "PVE/Storage/ZFSPoolPlugin.pm", "create_base", storage, Read},
	{"qm clone", "stopped", "makes the new guest, which is locked with clone; the flock of the old one is shared", []Held{{Config, CloneWait, "all is copied"}}, "PVE/API2/Qemu.pm", "clone_vm", qemuServer, Read},
	{"qm clone", "running", "the same, and the flock is exclusive: after a second it gives up", []Held{{Config, CloneWait, "all is copied"}}, "PVE/API2/Qemu.pm", "clone_vm", qemuServer, Read},
	{"pct clone", "any", "writes lock: disk, makes the new guest, which is locked with create, removes the word", config("the word is written, and again for its end"), "PVE/API2/LXC.pm", "clone_vm", container, Read},
	{"qm disk resize, pct resize", "any", "sets volsize or refquota and the size in the configuration", config("it is written"), "PVE/API2/LXC.pm", "resize_vm", container, Read},
	{"qm destroy, pct destroy", "stopped", "destroys each disk with zfs destroy -r, six tries a second apart while it is busy; then the configuration is lock: destroyed alone, then gone", config("all is gone"), "PVE/LXC.pm", "destroy_lxc_container", container, Read},
	{"vzdump", "a machine that runs", "writes lock: backup; freezes and thaws it, where it has an agent; copies; removes the word", config("the word is written, and again for its end"), "PVE/VZDump/QemuServer.pm", "lock_vm, qga_fs_freeze, unlock_vm", qemuServer, Read},
	{"vzdump", "a machine that is off", "the same; meanwhile QEMU is there, in the state prelaunch, or shutdown once it was told to end", config("QEMU runs, and again until it is gone"), "PVE/VZDump/QemuServer.pm", "enforce_vm_running_for_backup", qemuServer, Read},
	{"vzdump", "a container that runs", "takes the snapshot vzdump under the word snapshot, and copies under backup; at last it removes the snapshot", []Held{{Config, ConfigWait, "the snapshot is taken"}, {Migrate, BackupWait, "it is removed"}}, "PVE/VZDump/LXC.pm", "snapshot, cleanup", container, Read},
	{"qm set, pct set", "any", "change the configuration", config("it is written"), "PVE/AbstractConfig.pm", "lock_config", guestCommon, Code},
	{"pct start, pct stop, pct shutdown", "any", "start and end the container; the command socket is gone when its file systems are unmounted", config("it runs or is gone"), "PVE/API2/LXC/Status.pm", "vm_start, vm_stop, vm_shutdown", container, Read},
	{"pct reboot", "running", "stops and starts it", config("it runs again"), "PVE/LXC.pm", "vm_reboot", container, Read},
	{"a reboot from within a container", "running", "for less than a second there is neither /var/lib/lxc/ID/reboot nor the command socket", nil, "lxc-pve-poststop-hook", "", container, Code},
	{"any call of qm, pct and vzdump", "under way", "is listed in /var/log/pve/tasks/active with its kind (qmrollback, vzrollback, …) and guest; when it has ended, with time and status", nil, "PVE/RESTEnvironment.pm", "fork_worker, active_workers", common, Read},
	{"pvesr run", "running, with a working agent", "freezes (an error is a warning), makes __replicate_ID-N_TIME__ of all disks, and thaws, whatever came of it and whoever froze", []Held{{Migrate, ReplicateWait, "all is sent"}}, "PVE/Replication.pm", "run_replication, replicate", guestCommon, Code},
	{"pvesr run", "pve-migrate-ID is held", "gives up after two seconds, and is run again a minute later or more", []Held{{Migrate, ReplicateWait, "never"}}, "PVE/Replication.pm", "run_replication", guestCommon, Read},
	{"pvesh get /nodes/localhost/qemu, lxc", "any", "the live list, from pid files and sockets; one configuration that goes away meanwhile fails the call", nil, "PVE/QemuServer.pm", "vmstatus", qemuServer, Read},
	{"pvesh get /nodes/localhost/qemu, lxc", "a slow node", "the same after 20 seconds and more: a minute is possible", nil, "PVE/CLI/pvesh.pm", "", manager, Code},
	{"whatever reads below /etc/pve", "pmxcfs hangs", "waits in the kernel; a process that waits so ends by no signal", nil, "linux fs/fuse/dev.c", "request_wait_answer", "Linux 6.12", Code},
	{"whatever reads below /etc/pve", "no quorum", "reads as ever, writes nothing", nil, "pmxcfs.adoc", "", "pve-docs 9.2", Read},
	{"pvesh", "pmxcfs hangs", "waits for ever", nil, "IPCC.xs", "ipcc_send_rec", "pve-cluster 9.2", Read},
	{"qm start after qm stop", "qmeventd is slow", "cleanup may hold the lock while the guest starts", nil, "", "", "", Guessed},
}

// Markdown renders the rows as a table.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| call | state of the guest | answer | locks, wait, held until | where | how known |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range Rows {
		var locks []string
		for _, h := range r.Locks {
			locks = append(locks, fmt.Sprintf("%s, %s, %s", h.Lock, h.Wait, h.Until))
		}
		where := strings.Join(filled(r.File, r.Function, r.Version), ", ")
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Call, r.State, r.Answer, strings.Join(locks, "; "), where, r.Seen)
	}
	return b.String()
}

func filled(words ...string) (all []string) {
	for _, w := range words {
		if w != "" {
			all = append(all, w)
		}
	}
	return all
}
