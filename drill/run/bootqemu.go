package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"snapwatch/drill"
	"snapwatch/internal/command"
)

// QEMU starts a guest from its clones in QEMU.
type QEMU struct {
	// Config is the path of the guest's kept configuration. Devices has the devices of the clones, by
	// the name of the volume.
	Config  string
	Devices map[string]string
	// Console is a text on the serial console by which the guest counts as started, "" for none: then
	// only the answer of its agent counts.
	Console string
	// Args are more arguments for QEMU.
	Args []string
}

// ErrNotTried is in the chain of an error of [QEMU.Boot] that says nothing about the guest.
var ErrNotTried = errors.New("the guest was not started")

// firmwares are the places of the UEFI firmware, of Proxmox and of Debian.
var firmwares = []string{"/usr/share/pve-edk2-firmware/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"}

// Boot starts the guest and returns by what it counts as started. When Boot returns, the virtual
// machine has ended.
func (q QEMU) Boot(ctx context.Context) (by string, err error) {
	untried := func(err error) error { return fmt.Errorf("%w: %w", ErrNotTried, err) }
	config, err := os.ReadFile(q.Config)
	if err != nil {
		return "", untried(fmt.Errorf("its configuration is not known: %w", err))
	}
	program, err := command.Find("qemu-system-x86_64")
	if err != nil {
		return "", untried(err)
	}
	dir, err := os.MkdirTemp("", "snapwatch-boot")
	if err != nil {
		return "", untried(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := drill.Machine{Config: string(config), Devices: q.Devices, Agent: filepath.Join(dir, "agent"), Console: filepath.Join(dir, "console")}
	for _, path := range firmwares {
		if _, err := os.Stat(path); err == nil && m.Firmware == "" {
			m.Firmware = path
		}
	}
	argv, remarks, err := m.QEMU()
	if err != nil {
		return "", untried(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard, ended := make(chan string, 2), make(chan error, 1)
	go func() {
		defer close(ended)
		said, err := command.RunHook(ctx, command.Cmd{Argv: append(append([]string{program}, argv...), q.Args...), DiesWithUs: true}, nil)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said))
		}
		ended <- err
	}()
	go awaitAgent(ctx, m.Agent, heard)
	if q.Console != "" {
		go awaitText(ctx, m.Console, q.Console, heard)
	}
	select {
	case by = <-heard:
	case err = <-ended:
		if err != nil && ctx.Err() == nil {
			return "", untried(err)
		}
		return "", errors.New("the guest ended, or began again, before it answered")
	case <-ctx.Done():
		err = fmt.Errorf("no answer of the guest: %w", context.Cause(ctx))
	}
	cancel()
	for range ended { // until the machine is gone
	}
	return strings.Join(append([]string{by}, remarks...), "; "), err
}

// awaitAgent asks the guest's agent each second until it answers.
func awaitAgent(ctx context.Context, socket string, heard chan<- string) {
	for wait(ctx, watchEvery) == nil {
		connection, err := net.Dial("unix", socket)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
		go func() {
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				if strings.Contains(lines.Text(), `"return"`) {
					heard <- "its agent answers"
					return
				}
			}
		}()
		for wait(ctx, watchEvery) == nil {
			if _, err := fmt.Fprintln(connection, `{"execute":"guest-ping"}`); err != nil {
				break
			}
		}
		stop()
		_ = connection.Close()
	}
}

// awaitText waits until the console has printed a text.
func awaitText(ctx context.Context, console, text string, heard chan<- string) {
	for wait(ctx, watchEvery) == nil {
		if said, _ := os.ReadFile(console); strings.Contains(string(said), text) {
			heard <- fmt.Sprintf("%q is on its console", text)
			return
		}
	}
}
