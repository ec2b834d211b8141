//go:build outside

package outside

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// job is the directory with the job of the lab's machine.
const job = "../../bin/job"

// fishTime is the longest time of one run of guestfish: its appliance starts in less than two minutes
// on a quiet machine without KVM, and takes ten times as long on a very busy one. labTime is the
// longest time of the lab's machine.
const (
	fishTime = 20 * time.Minute
	labTime  = 3 * time.Hour
)

// TestDrill makes images of guests' disks, boots the lab's machine, in which TestDrillByGuestfish runs
// drills of these guests, and runs the scripts of the drills for guestfish here.
func TestDrill(t *testing.T) {
	images(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	scripts, disks := port(t), port(t)
	lab := exec.CommandContext(ctx, "../lab/boot", "--timeout", fmt.Sprint(labTime.Seconds()),
		"--forward", fmt.Sprintf("%d:%d", scripts, ScriptsPort), "--forward", fmt.Sprintf("%d:%d", disks, DisksPort), job)
	lab.Cancel = func() error { return lab.Process.Signal(os.Interrupt) }
	lab.Stderr = os.Stderr
	output, err := lab.StdoutPipe()
	require.NoError(t, err)
	fmt.Println("waiting for the lab's machine")
	require.NoError(t, lab.Start())
	for lines := bufio.NewScanner(output); lines.Scan(); {
		fmt.Println(lines.Text())
		if strings.Contains(lines.Text(), Ready) {
			go func() {
				why := relay(ctx, fmt.Sprintf("http://127.0.0.1:%d", scripts), disks)
				fmt.Println("no more scripts:", why)
				time.AfterFunc(time.Minute, func() { cancel(why) }) // usually the machine ends
			}()
		}
	}
	err = lab.Wait()
	require.NoError(t, err, "%v", context.Cause(ctx))
}

// port returns a free port of this machine.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// relay runs the scripts that the machine hands out, until the machine ends.
func relay(ctx context.Context, machine string, disks int) error {
	drive := regexp.MustCompile(`(?m)^add-drive "/dev/(.*)" format:raw$`)
	for {
		script, err := ask(ctx, http.MethodGet, machine+ScriptPath, nil)
		if err != nil {
			return fmt.Errorf("asking the machine for a script: %w", err)
		}
		script = drive.ReplaceAll(script, fmt.Appendf(nil, `add-drive "$1" format:raw protocol:nbd server:127.0.0.1:%d`, disks))
		result, err := json.Marshal(fish(ctx, script))
		if err != nil {
			return err
		}
		if _, err := ask(ctx, http.MethodPost, machine+ResultPath, result); err != nil {
			return fmt.Errorf("sending a result to the machine: %w", err)
		}
	}
}

func ask(ctx context.Context, method, address string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return text, err
}

// fish runs a script by guestfish.
func fish(ctx context.Context, script []byte) Result {
	ctx, cancel := context.WithTimeout(ctx, fishTime)
	defer cancel()
	fmt.Printf("waiting for guestfish, for %s at most:\n%s", fishTime, script)
	begun := time.Now()
	cmd := exec.CommandContext(ctx, "guestfish")
	cmd.WaitDelay = 10 * time.Second
	// QEMU would end where /dev/kvm exists and does not work.
	if processors, _ := os.ReadFile("/proc/cpuinfo"); !strings.Contains(string(processors), "vmx") && !strings.Contains(string(processors), "svm") {
		cmd.Env = append(os.Environ(), "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")
	}
	var output, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(script), &output, &complaint
	err := cmd.Run()
	status := 0
	if exit, is := errors.AsType[*exec.ExitError](err); is && exit.ExitCode() > 0 {
		status = exit.ExitCode()
	} else if err != nil {
		status = 3
		fmt.Fprintln(&complaint, err)
	}
	fmt.Printf("guestfish ended with %d after %.0f s:\n%s%s", status, time.Since(begun).Seconds(), &output, &complaint)
	return Result{output.String(), complaint.String(), status}
}

// images makes the images of guests' disks in the job. guestfish does not unmount the file systems
// at its end, so their journals are in use.
func images(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	ext4, xfs, tree := filepath.Join(dir, "ext4"), filepath.Join(dir, "xfs"), filepath.Join(dir, "tree")
	for path, text := range map[string]string{
		"etc/os-release": "ID=debian\nVERSION_ID=13\nPRETTY_NAME=\"Lab Linux 7\"\n", "etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n", "etc/hostname": "lab\n",
		"etc/debian_version": "13.0\n", "bin/sh": "#!\n", "lib/modules/x": "x", "usr/bin/x": "x", "var/log/x": "x", "sbin/init": "x", "boot/x": "x", "home/x": "x",
	} {
		path = filepath.Join(tree, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	for path, mib := range map[string]int64{ext4: Ext4MiB, xfs: XFSMiB} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, mib<<20))
	}
	copied := "copy-in"
	top, err := filepath.Glob(tree + "/*")
	require.NoError(t, err)
	for _, path := range top {
		copied += fmt.Sprintf(" %q", path)
	}
	made := fish(t.Context(), []byte(strings.Join([]string{
		"set-backend direct", "set-autosync false",
		fmt.Sprintf("add-drive %q format:raw", ext4), fmt.Sprintf("add-drive %q format:raw", xfs), "run",
		"part-disk /dev/sda mbr", "mkfs ext4 /dev/sda1",
		"part-disk /dev/sdb gpt", "pvcreate /dev/sdb1", "vgcreate vg0 /dev/sdb1", "lvcreate root vg0 320", "mkfs xfs /dev/vg0/root",
		"mkmountpoint /ext4", "mkmountpoint /xfs", "mount /dev/sda1 /ext4", "mount /dev/vg0/root /xfs", copied + " /ext4", copied + " /xfs",
		"umount /xfs", "mount /dev/vg0/root /xfs", "write /xfs/" + LastFile + ` ""`, "write /ext4/" + LastFile + ` ""`, "sync",
	}, "\n")+"\n"))
	require.Zero(t, made.Status)
	for path, name := range map[string]string{ext4: Ext4Image, xfs: XFSImage} {
		compress(t, path, filepath.Join(job, name))
	}
}

func compress(t *testing.T, path, to string) {
	t.Helper()
	from, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	file, err := os.Create(to)
	require.NoError(t, err)
	packed, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = io.Copy(packed, from)
	require.NoError(t, errors.Join(err, packed.Close(), file.Close()))
}
