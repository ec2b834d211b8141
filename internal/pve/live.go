package pve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/command"
)

// PveshTimeout is the longest time that one call of pvesh may take. A call of pvesh normally needs
// one or two seconds, and waits for ever if pmxcfs hangs.
const PveshTimeout = 30 * time.Second

// Listed is a guest in Proxmox's live list of this node.
type Listed struct {
	ID
	// Status is running or stopped. If Status is neither running nor stopped, snapwatch treats the
	// guest's state as unknown.
	Status string
}

// List returns Proxmox's live state of all guests on this node. A guest that migrates away during
// the call makes pvesh fail, so List runs a failed pvesh a second time. List does not run a pvesh
// that hung a second time, because the second pvesh would also hang.
func List(ctx context.Context) (map[ID]Listed, error) {
	type answer struct {
		list []Listed
		err  error
	}
	kinds := []Kind{QEMU, LXC}
	answers := make([]chan answer, len(kinds))
	for i, kind := range kinds {
		answers[i] = make(chan answer, 1)
		go func() {
			list, err := listKind(ctx, kind)
			hung := errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
			if err != nil && !hung && !errors.Is(err, command.ErrNotFound) {
				list, err = listKind(ctx, kind)
			}
			answers[i] <- answer{list, err}
		}()
	}
	all := map[ID]Listed{}
	var errs []error
	for _, c := range answers {
		a := <-c
		errs = append(errs, a.err)
		for _, l := range a.list {
			all[l.ID] = l
		}
	}
	return all, errors.Join(errs...)
}

func listKind(ctx context.Context, kind Kind) ([]Listed, error) {
	var rows []struct {
		VMID   number `json:"vmid"`
		Status string `json:"status"`
	}
	if err := pvesh(ctx, "/nodes/localhost/"+string(kind), &rows); err != nil {
		return nil, err
	}
	var list []Listed
	for _, r := range rows {
		if r.VMID <= 0 {
			return nil, fmt.Errorf("pvesh get /nodes/localhost/%s: an entry has no vmid", kind)
		}
		list = append(list, Listed{ID: ID{VMID: int(r.VMID), Kind: kind}, Status: r.Status})
	}
	return list, nil
}

// RunState returns the guest's state according to QEMU, such as running, paused, prelaunch or
// shutdown.
func RunState(ctx context.Context, vmid int) (string, error) {
	var current struct {
		QMPStatus string `json:"qmpstatus"`
	}
	path := fmt.Sprintf("/nodes/localhost/qemu/%d/status/current", vmid)
	if err := pvesh(ctx, path, &current); err != nil {
		return "", err
	}
	if current.QMPStatus == "" {
		return "", fmt.Errorf("pvesh get %s: no qmpstatus in the answer", path)
	}
	return current.QMPStatus, nil
}

// pvesh runs pvesh with a path below "localhost". For a path with a node's name, pvesh would log in
// to the node by ssh.
func pvesh(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, PveshTimeout)
	defer cancel()
	argv := []string{"pvesh", "get", path, "--output-format", "json"}
	text, err := command.Output(ctx, command.Cmd{Argv: argv})
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("%s: the answer is not the JSON expected: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// number is a JSON number, or a string that contains a number. The VMIDs of containers were strings
// until PVE 8.1.
type number int

func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.Atoi(strings.Trim(string(text), `"`))
	*n = number(v)
	return err
}

// Process reports whether the guest's process is alive, according to the files that Proxmox itself
// checks. An error means that it is unknown whether the process is alive.
func (h Host) Process(id ID) (alive bool, err error) {
	if id.Kind == LXC {
		return h.containerLives(id.VMID)
	}
	return h.qemuLives(id.VMID)
}

// ProcessID returns a text that identifies a guest's process until the host's next boot: the
// process number and start time of a virtual machine, or the number of a container's cgroup.
// ProcessID returns "" if the guest has no process. If the guest gets a new process, ProcessID
// returns a different text.
func (h Host) ProcessID(id ID) (string, error) {
	if id.Kind == LXC {
		var s syscall.Stat_t
		if err := syscall.Stat(h.ContainerCgroup(id.VMID), &s); errors.Is(err, fs.ErrNotExist) {
			return "", nil
		} else if err != nil {
			return "", err
		}
		return fmt.Sprintf("cgroup %d", s.Ino), nil
	}
	if lives, err := h.qemuLives(id.VMID); err != nil || !lives {
		return "", err
	}
	pid, err := h.qemuPID(id.VMID)
	if err != nil {
		return "", err
	}
	stat, err := h.readProcess(pid, "stat")
	if err != nil {
		return "", err
	}
	// The second field of proc_pid_stat(5) is the program's name, which may contain any character.
	_, rest, _ := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), " ")
	const started = 22 - 3
	fields := strings.Fields(rest)
	if len(fields) <= started {
		return "", fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return fmt.Sprintf("process %d of %s", pid, fields[started]), nil
}

var qemuProgram = regexp.MustCompile(`(^|/)(kvm|qemu-[^/]*)$`)

// qemuPID returns the process number of a virtual machine. The error is [fs.ErrNotExist] if the
// machine has no pid file.
func (h Host) qemuPID(vmid int) (int, error) {
	text, err := os.ReadFile(filepath.Join(h.Run, "qemu-server", strconv.Itoa(vmid)+".pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("the pid file of guest %d does not contain a number", vmid)
	}
	return pid, nil
}

func (h Host) qemuLives(vmid int) (bool, error) {
	pid, err := h.qemuPID(vmid)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	cmdline, err := h.readProcess(pid, "cmdline")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a crashed process leaves its pid file behind
	}
	if err != nil {
		return false, err
	}
	argv := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	pidfile := slices.Index(argv, "-pidfile")
	// The command line shows whether the process is the guest's QEMU: a zombie has an empty command
	// line, and a new process with the same number has a different command line.
	return qemuProgram.MatchString(argv[0]) && pidfile >= 0 && pidfile+1 < len(argv) &&
		strings.HasSuffix(argv[pidfile+1], fmt.Sprintf("/qemu-server/%d.pid", vmid)), nil
}

// processTimeout is the longest time that reading a file of a process may take. The kernel lets the
// file be read only while no thread changes the process's memory map. If a thread waits for a dead
// disk while it changes the memory map, the reading never ends.
const processTimeout = time.Second

// readProcess reads a file of a process below /proc.
func (h Host) readProcess(pid int, name string) ([]byte, error) {
	path := filepath.Join(h.Proc, strconv.Itoa(pid), name)
	late := fmt.Errorf("%s: not answered within %s", path, processTimeout)
	ctx, cancel := context.WithTimeoutCause(context.Background(), processTimeout, late)
	defer cancel()
	return runApart(ctx, func() ([]byte, error) { return os.ReadFile(path) })
}

func (h Host) containerLives(vmid int) (bool, error) {
	text, err := os.ReadFile(filepath.Join(h.Proc, "net", "unix"))
	if err != nil {
		return false, err
	}
	want := fmt.Sprintf("@/var/lib/lxc/%d/command", vmid)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == want {
			return true, nil
		}
	}
	return false, nil
}

// Rebooting reports whether Proxmox is about to start the guest again.
func (h Host) Rebooting(id ID) bool {
	path := filepath.Join(h.Run, "qemu-server", strconv.Itoa(id.VMID)+".reboot")
	if id.Kind == LXC {
		path = filepath.Join(h.LXC, strconv.Itoa(id.VMID), "reboot")
	}
	_, err := os.Stat(path)
	return err == nil
}

// ConfigLock returns the path of the lock that Proxmox holds while it starts, stops, rolls back or
// reconfigures the guest.
func (h Host) ConfigLock(id ID) string {
	if id.Kind == LXC {
		return filepath.Join(h.Lock, "lxc", fmt.Sprintf("pve-config-%d.lock", id.VMID))
	}
	return filepath.Join(h.Lock, "qemu-server", fmt.Sprintf("lock-%d.conf", id.VMID))
}

// BootState returns the state of pve-guests.service, which starts the guests at boot and stops them
// at shutdown. BootState returns the same words as [Host.UnitState].
func (h Host) BootState(ctx context.Context) (string, error) {
	return h.UnitState(ctx, "pve-guests.service")
}
