// Package contract describes the calls of Proxmox VE on which snapwatch relies: for each call the
// answer and the locks. The stand-ins follow the description in this package,
// docs/proxmox-contract.md is generated from the description, and tools/probe-node compares the
// description with a real node.
package contract

import (
	"fmt"
	"strings"
	"time"
)

// The constants below are the times for which calls of Proxmox wait for a lock. If the time is
// over, the call prints "got timeout".
const (
	ConfigWait    = 10 * time.Second
	MigrateWait   = 10 * time.Second
	ReplicateWait = 2 * time.Second
	CleanupWait   = 60 * time.Second
	CloneWait     = time.Second
	BackupWait    = 600 * time.Second
)

// Lock is a lock of a guest that Proxmox takes with flock(2).
type Lock string

// Proxmox has two lock files for each guest.
const (
	// Config is the lock of the guest's configuration: /run/lock/qemu-server/lock-ID.conf, or
	// /run/lock/lxc/pve-config-ID.lock.
	Config Lock = "config"
	// Migrate is the lock for migrations of the guest: /var/lock/pve-manager/pve-migrate-ID.
	Migrate Lock = "pve-migrate"
)

// Seen is the kind of evidence for a row of the contract.
type Seen string

// The constants below are the kinds of evidence for a row of the contract, the most reliable first.
const (
	// Node means that the row was seen on a node of Proxmox VE.
	Node Seen = "on a node"
	// Code means that the row was seen in a run of Proxmox's own code, but not on a node.
	Code Seen = "run"
	// Read means that the row was read in Proxmox's source, but Proxmox's code was not run.
	Read Seen = "read"
	// Guessed means that the row has no source. Code that could damage a guest must not depend on
	// a guessed row.
	Guessed Seen = "*guessed*"
)

// Row describes the answer of one call of a Proxmox program for a guest in one state.
type Row struct {
	Call, State string
	// Answer describes the output of the call, and the actions of the call in their order.
	Answer string
	// Locks lists the locks that the call takes, in the order in which the call takes them.
	Locks []Held
	// File, Function and Version name the place in Proxmox's source that the row describes, and
	// are empty in a guessed row.
	File, Function, Version string
	Seen                    Seen
}

// Held is a lock that a call takes, with the time for which Proxmox waits for the lock. Until
// describes the moment at which Proxmox releases the lock.
type Held struct {
	Lock  Lock
	Wait  time.Duration
	Until string
}

// The constants below are versions of Proxmox's packages: the rows of the contract were read in the
// sources of these versions.
const (
	qemuServer  = "qemu-server 9.2.6"
	guestCommon = "libpve-guest-common-perl 6.0.2"
	container   = "pve-container 6.1.10"
	manager     = "pve-manager 9.2.11"
	common      = "libpve-common-perl 9.2.1"
	storage     = "libpve-storage-perl 9.1.7"
)

// Timeout returns the message that Proxmox prints when it gives up waiting for a lock; the call
// then ends with exit status 255.
func Timeout(path string) string { return fmt.Sprintf("can't lock file '%s' - got timeout", path) }

func config(until string) []Held { return []Held{{Config, ConfigWait, until}} }

// Rows contains all rows of the contract with Proxmox.
var Rows = []Row{
	{"any call that takes a flock", "somebody else holds it", `"trying to acquire lock...", then "can't lock file '…' - got timeout", status 255`, nil,
		"PVE/Tools.pm", "lock_file_full", common, Code},
	{"qm start", "stopped", "starts QEMU, whose pid file exists when the call returns", config("QEMU runs"), "PVE/QemuServer.pm", "vm_start", qemuServer, Code},
	{"any call that takes the config flock, except those of backup and unlock", "a lock word in the configuration", `"VM is locked (WORD)", or "CT is locked (WORD)", status 255`, config("the error is printed"), "PVE/AbstractConfig.pm", "check_lock", guestCommon, Read},
	{"qm stop, qm shutdown", "running", "ends QEMU, and returns when QEMU's process has ended", config("the process has ended"), "PVE/QemuServer.pm", "vm_stop", qemuServer, Code},
	{"qm reboot", "running", "writes /run/qemu-server/ID.reboot to request a new start, ends QEMU; cleanup starts it again", config("the process has ended"), "PVE/QemuServer.pm", "vm_reboot", qemuServer, Code},
	{"qm cleanup", "stopped just now, called by qmeventd", "removes the remains of the process; if /run/qemu-server/ID.reboot exists, removes that file and starts the guest again", []Held{{Config, CleanupWait, "the remains are removed"}}, "PVE/CLI/qm.pm", "cleanup", qemuServer, Read},
	{"qm rollback, pct rollback", "running or stopped", "checks that the snapshot is the newest of each disk, then stops the guest, then writes lock: rollback; then zfs rollback of each disk; then writes the configuration of the snapshot, without lock", []Held{{Migrate, MigrateWait, "the call ends"}, {Config, ConfigWait, "lock: rollback is written, and again for the last step"}}, "PVE/AbstractConfig.pm", "snapshot_rollback", guestCommon, Code},
	{"qm rollback, pct rollback", "a disk has a newer snapshot", `"can't rollback, 'S' is not most recent snapshot on 'STORAGE:DISK'", status 255, changes nothing`, []Held{{Migrate, MigrateWait, "the error is printed"}, {Config, ConfigWait, "the error is printed"}}, "PVE/Storage/ZFSPoolPlugin.pm", "volume_rollback_is_possible", storage, Read},
	{"qm rollback, pct rollback", "a snapshot or bookmark is made between the check and the rollback", "zfs rollback fails, status 255; the guest is off with lock: rollback", []Held{{Migrate, MigrateWait, "the error is printed"}, {Config, ConfigWait, "lock: rollback is written"}}, "PVE/AbstractConfig.pm", "snapshot_rollback", guestCommon, Code},
	{"qm snapshot, pct snapshot", "any except a template", "writes the word snapshot and a section; takes the snapshot of each disk, and freezes a machine with an agent meanwhile; removes the word", config("the word is written, and again for its end"), "PVE/AbstractConfig.pm", "snapshot_create", guestCommon, Read},
	{"qm delsnapshot, pct delsnapshot", "any", "writes the word snapshot-delete, destroys the snapshot of each disk, removes word and section", []Held{{Migrate, MigrateWait, "the call ends"}, {Config, ConfigWait, "the word is written, and again for its end"}}, "PVE/AbstractConfig.pm", "snapshot_delete", guestCommon, Read},
	{"qm migrate", "running or stopped", "writes lock: migrate, moves the disks, then the configuration to the other node; ends QEMU here, destroys the disks here that were not replicated, removes the word there. The disks of a running machine are mirrored to new ones without snapshots", []Held{{Migrate, MigrateWait, "the call ends"}, {Config, ConfigWait, "the call ends"}}, "PVE/AbstractMigrate.pm", "migrate", guestCommon, Read},
	{"pct migrate", "running, without --restart", `"running container can only be migrated in restart mode", status 255`, []Held{{Migrate, MigrateWait, "the error is printed"}, {Config, ConfigWait, "the error is printed"}}, "PVE/LXC/Migrate.pm", "prepare", container, Read},
	{"pct migrate --restart", "running", "stops the container, then writes lock: migrate; sends the disks, moves the configuration, destroys them here, removes the word and starts the container there", []Held{{Migrate, MigrateWait, "the call ends"}, {Config, ConfigWait, "the call ends"}}, "PVE/LXC/Migrate.pm", "prepare, phase1, phase3, final_cleanup", container, Read},
	{"qm disk move", "running or stopped", "copies the disk and then names the copy in the configuration; no lock word", config("the data are copied"), "PVE/API2/Qemu.pm", "move_vm_disk", qemuServer, Read},
	{"pct move-volume", "stopped", "writes lock: disk, copies, names the copy in the configuration, removes the word; refuses a running container", config("the word is written, and again for the name and the end"), "PVE/API2/LXC.pm", "move_volume", container, Read},
	{"qm template, pct template", "stopped, without snapshots by Proxmox", "renames each disk to base-ID-disk-N or basevol-ID-disk-N and takes @__base__ of it; marks a machine's configuration as a template before that, a container's after that", config("the disks are renamed"), "PVE/Storage/ZFSPoolPlugin.pm", "create_base", storage, Read},
	{"qm clone", "stopped", "makes the new guest, which is locked with clone; the flock of the old one is shared", []Held{{Config, CloneWait, "the data are copied"}}, "PVE/API2/Qemu.pm", "clone_vm", qemuServer, Read},
	{"qm clone", "running", "the same, but the flock is exclusive: gives up after a second", []Held{{Config, CloneWait, "the data are copied"}}, "PVE/API2/Qemu.pm", "clone_vm", qemuServer, Read},
	{"pct clone", "any", "writes lock: disk, makes the new guest, which is locked with create, removes the word", config("the word is written, and again for its end"), "PVE/API2/LXC.pm", "clone_vm", container, Read},
	{"qm disk resize, pct resize", "any", "sets volsize or refquota and the size in the configuration", config("the configuration is written"), "PVE/API2/LXC.pm", "resize_vm", container, Read},
	{"qm destroy, pct destroy", "stopped", "destroys each disk with zfs destroy -r, six tries a second apart while it is busy; then the configuration holds only lock: destroyed, then removes the configuration", config("the configuration is removed"), "PVE/LXC.pm", "destroy_lxc_container", container, Read},
	{"vzdump", "a running machine", "writes lock: backup; freezes and thaws a machine with an agent; copies; removes the word", config("the word is written, and again for its end"), "PVE/VZDump/QemuServer.pm", "lock_vm, qga_fs_freeze, unlock_vm", qemuServer, Read},
	{"vzdump", "a machine that is off", "the same; meanwhile QEMU runs, in the state prelaunch, or shutdown after it was asked to end", config("QEMU runs, and again until QEMU has ended"), "PVE/VZDump/QemuServer.pm", "enforce_vm_running_for_backup", qemuServer, Read},
	{"vzdump", "a running container", "takes the snapshot vzdump under the word snapshot, copies under the word backup; at last removes the snapshot", []Held{{Config, ConfigWait, "the snapshot is taken"}, {Migrate, BackupWait, "the snapshot is removed"}}, "PVE/VZDump/LXC.pm", "snapshot, cleanup", container, Read},
	{"qm set, pct set", "any", "change the configuration", config("the configuration is written"), "PVE/AbstractConfig.pm", "lock_config", guestCommon, Code},
	{"pct start, pct stop, pct shutdown", "any", "start and end the container; the command socket is gone when its file systems are unmounted", config("the container runs or has ended"), "PVE/API2/LXC/Status.pm", "vm_start, vm_stop, vm_shutdown", container, Read},
	{"pct reboot", "running", "stops and starts the container", config("the container runs again"), "PVE/LXC.pm", "vm_reboot", container, Read},
	{"a reboot from within a container", "running", "for less than a second neither /var/lib/lxc/ID/reboot nor the command socket exists", nil, "lxc-pve-poststop-hook", "", container, Code},
	{"any call of qm, pct and vzdump", "under way", "is listed in /var/log/pve/tasks/active with its kind (qmrollback, vzrollback, …) and guest; after the end, with time and status", nil, "PVE/RESTEnvironment.pm", "fork_worker, active_workers", common, Read},
	{"pvesr run", "running, with a working agent", "freezes (an error is a warning), makes __replicate_ID-N_TIME__ of all disks, and always thaws, even after an error or if another program froze the guest", []Held{{Migrate, ReplicateWait, "the disks are sent"}}, "PVE/Replication.pm", "run_replication, replicate", guestCommon, Code},
	{"pvesr run", "pve-migrate-ID is held", "gives up after two seconds, and runs again after a minute or more", []Held{{Migrate, ReplicateWait, "never"}}, "PVE/Replication.pm", "run_replication", guestCommon, Read},
	{"pvesh get /nodes/localhost/qemu, lxc", "any", "the live list, from pid files and sockets; the call fails if one configuration is removed meanwhile", nil, "PVE/QemuServer.pm", "vmstatus", qemuServer, Read},
	{"pvesh get /nodes/localhost/qemu, lxc", "a slow node", "the same after 20 seconds and more: a minute is possible", nil, "PVE/CLI/pvesh.pm", "", manager, Code},
	{"any read below /etc/pve", "pmxcfs hangs", "waits in the kernel; no signal ends a process that waits there", nil, "linux fs/fuse/dev.c", "request_wait_answer", "Linux 6.12", Code},
	{"any read below /etc/pve", "no quorum", "reads work, writes fail", nil, "pmxcfs.adoc", "", "pve-docs 9.2", Read},
	{"pvesh", "pmxcfs hangs", "waits for ever", nil, "IPCC.xs", "ipcc_send_rec", "pve-cluster 9.2", Read},
	{"qm start after qm stop", "qmeventd is slow", "cleanup may hold the lock while the guest starts", nil, "", "", "", Guessed},
}

// Markdown returns the rows of the contract as a Markdown table.
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
