package contract

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/proxmox-contract.md")

const (
	page  = "../../../docs/proxmox-contract.md"
	begin = "<!-- the contract, written by go test ./test/standin/contract -update -->\n"
	end   = "<!-- end of the contract -->\n"
)

// Each row of the contract names a place in Proxmox's source, or is marked as guessed.
func TestEachRowHasASource(t *testing.T) {
	calls := map[string]bool{}
	for _, r := range Rows {
		name := r.Call + ", " + r.State
		assert.False(t, calls[name], "twice: %s", name)
		calls[name] = true
		assert.NotEmpty(t, r.Answer, name)
		assert.Contains(t, []Seen{Node, Code, Read, Guessed}, r.Seen, name)
		assert.Equal(t, r.Seen == Guessed, r.File == "" || r.Version == "", "%s: a place in Proxmox, or a guess", name)
		for _, h := range r.Locks {
			assert.NotZero(t, h.Wait, name)
			assert.NotEmpty(t, h.Until, name)
		}
	}
}

func TestThePageIsTheContract(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + Markdown() + end + after
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	assert.Equal(t, want, string(text), "go test ./test/standin/contract -update")
}

// The script tools/probe-node finds functions, locks and lock words on a node, and prints no name
// of a guest.
func TestProbeNode(t *testing.T) {
	for _, program := range []string{"bash", "jq"} {
		_, err := exec.LookPath(program)
		require.NoError(t, err, "install this program: the test needs it")
	}
	root := t.TempDir()
	place := func(name, text string) string {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	place("usr/share/perl5/PVE/QemuServer.pm", "sub vm_start {\n")
	place("usr/share/perl5/PVE/Replication.pm", "sub run_replication {\n")
	place("etc/pve/local/qemu-server/4711.conf", "lock: rollback\nname: secret\n[snap]\nlock: past\n")
	lock, err := os.Open(place("run/lock/qemu-server/lock-4711.conf", ""))
	require.NoError(t, err)
	defer func() { _ = lock.Close() }()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	place("bin/pvesh", "#!/bin/sh\necho '[{\"vmid\":4711,\"name\":\"secret\",\"status\":\"running\"}]'\n")

	cmd := exec.Command("bash", "../../../tools/probe-node", "--watch", "1", page)
	cmd.Env = append(os.Environ(), "PROBE_ROOT="+root, "PATH="+root+"/bin:"+os.Getenv("PATH"))
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
	text := string(said)
	assert.Contains(t, text, "| qm start | PVE/QemuServer.pm, vm_start, "+qemuServer+" | found |")
	assert.Contains(t, text, "| qm reboot | PVE/QemuServer.pm, vm_reboot, "+qemuServer+" | no such function |")
	assert.Contains(t, text, "| pvesr run | PVE/Replication.pm, run_replication, replicate, "+guestCommon+" | no such function |", "each of a row's functions is looked for")
	assert.Contains(t, text, "| pvesr run | PVE/Replication.pm, run_replication, "+guestCommon+" | found |")
	assert.Contains(t, text, "| pvesh get /nodes/localhost/qemu | name string, status string, vmid number | 0 | ")
	assert.Regexp(t, `\| \d\.\d\d s \| guest1 \| config \| rollback \| no \|`, text)
	assert.NotContains(t, text, "secret")
	assert.NotContains(t, text, "4711")
}
