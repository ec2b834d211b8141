package site

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed agent.sh
var agentScript string

// StartAgent starts a real qemu-ga for a virtual machine. The agent sees only one file system:
// the ext4 on the dataset's volume. The test must stop the agent, because the pool cannot be
// destroyed while the agent has the volume mounted.
func (s *Site) StartAgent(ctx context.Context, vmid int, dataset string) (*Process, error) {
	const script = "/run/agent.sh"
	if err := s.WriteFile(script, agentScript); err != nil {
		return nil, err
	}
	p, err := s.Start(context.WithoutCancel(ctx), "unshare", "--mount", "--propagation", "private",
		"sh", script, fmt.Sprint(vmid), "/dev/zvol/"+dataset)
	if err != nil {
		return nil, err
	}
	for {
		// When the socket of the guest agent exists, the agent listens.
		if _, err := s.ReadFile(fmt.Sprintf("/run/qemu-server/%d.qga", vmid)); errors.Is(err, syscall.ENXIO) {
			return p, nil
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("qemu-ga ended: %s", p.result.Stderr)
		case <-ctx.Done():
			p.Kill()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PlayAgent gives a virtual machine a simulated guest agent, which freezes no file system and
// only reports frozen or thawed.
func (s *Site) PlayAgent(vmid int) error {
	return s.WriteFile(fmt.Sprintf("%s/agent-%d", standinDir, vmid), "thawed")
}

// Agent returns the state of a virtual machine's simulated guest agent: frozen or thawed.
func (s *Site) Agent(vmid int) (string, error) {
	return s.ReadFile(fmt.Sprintf("%s/agent-%d", standinDir, vmid))
}

// AgentLog returns the state changes of all simulated guest agents, one per line: the VMID,
// frozen or thawed, and the time in nanoseconds.
func (s *Site) AgentLog() (string, error) {
	text, err := s.ReadFile(standinDir + "/agent.log")
	if os.IsNotExist(err) {
		return "", nil
	}
	return text, err
}

// Cgroup is a container's cgroup, at the path that Proxmox uses. The cgroup belongs to the
// machine, not to one site.
type Cgroup struct{ dir string }

// NewCgroup creates the cgroup of a container.
func NewCgroup(vmid int) (Cgroup, error) {
	c := Cgroup{filepath.Join("/sys/fs/cgroup/lxc", fmt.Sprint(vmid))}
	return c, os.MkdirAll(c.dir, 0o755)
}

// Start starts a command on the machine as a process in the cgroup.
func (c Cgroup) Start(argv ...string) error {
	dir, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// Frozen reports whether the cgroup's processes are frozen, or are just being frozen.
func (c Cgroup) Frozen() (bool, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.freeze"))
	return strings.TrimSpace(string(text)) == "1", err
}

// Close ends all processes in the cgroup and removes the cgroup.
func (c Cgroup) Close(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		return err
	}
	for {
		err := syscall.Rmdir(c.dir)
		if !errors.Is(err, syscall.EBUSY) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
