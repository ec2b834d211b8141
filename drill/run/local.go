package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/files"
	"snapwatch/internal/lock"
	"snapwatch/internal/zfs"
)

// guestfish is the program of libguestfs that looks at disks inside of an appliance, a small virtual
// machine. The file systems of guests never reach the kernel of this host.
const guestfish = "guestfish"

// Local is the World of the machine on which this process runs.
type Local struct {
	// Kstat is the directory in which ZFS publishes the state of pools, LockDir the directory of
	// root's locks, and StateDir the directory of the results of drills.
	Kstat, LockDir, StateDir string
	// Dev is the directory of devices, /dev except in tests.
	Dev string
	// Self is a path from which the running program can be started. MountDir is the directory at which
	// clones of containers are mounted; only the process that looks at a clone sees its mount.
	Self, MountDir string
	// Clock returns the present time; it is [time.Now], except in tests.
	Clock func() time.Time
}

var _ World = Local{}

// Now implements [World].
func (l Local) Now() time.Time { return l.Clock() }

// Alive implements [World].
func (Local) Alive(process int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", process))
	return process == 0 || !errors.Is(err, fs.ErrNotExist)
}

func reader(lock *os.File) zfs.Reader { return zfs.Reader{Inherit: inherited(lock)} }

func inherited(lock *os.File) []*os.File {
	if lock == nil {
		return nil
	}
	return []*os.File{lock}
}

// Pools implements [World].
func (l Local) Pools() ([]string, error) { return zfs.Pools(l.Kstat) }

// Space implements [World].
func (l Local) Space(ctx context.Context, pool string) (drill.Pool, error) {
	if err := zfs.CheckPool(l.Kstat, pool); err != nil {
		return drill.Pool{}, err
	}
	size, allocated, err := reader(nil).Space(ctx, pool)
	return drill.Pool{Size: size, Allocated: allocated}, err
}

// Drilled implements [World].
func (l Local) Drilled(ctx context.Context, lock *os.File, pool string) ([]zfs.Drilled, error) {
	if err := zfs.CheckPool(l.Kstat, pool); err != nil {
		return nil, err
	}
	return reader(lock).Drilled(ctx, pool)
}

// Snapshots implements [World].
func (Local) Snapshots(ctx context.Context, datasets []string) (map[string][]zfs.Snapshot, error) {
	all := map[string][]zfs.Snapshot{}
	return all, reader(nil).Snapshots(ctx, datasets, func(s zfs.Snapshot) error {
		all[s.Dataset] = append(all[s.Dataset], s)
		return nil
	})
}

// Receiving implements [World].
func (Local) Receiving(ctx context.Context, lock *os.File, datasets []string) ([]string, error) {
	return reader(lock).Receiving(ctx, datasets)
}

// Change implements [World].
func (Local) Change(ctx context.Context, lock *os.File, argv []string) error {
	_, err := command.RunUnkillable(ctx, command.Cmd{Argv: argv, Inherit: inherited(lock)})
	return err
}

// CanLook implements [World].
func (Local) CanLook() error {
	if _, err := command.Find(guestfish); err != nil {
		return fmt.Errorf("guestfish is not installed, which looks at the clones (apt install libguestfs-tools): %w", err)
	}
	return nil
}

// AwaitDevice implements [World].
func (l Local) AwaitDevice(ctx context.Context, c drill.Clone) (string, error) {
	for {
		device, err := filepath.EvalSymlinks(l.path(c.Device))
		if err == nil && l.Dev == systemDev {
			var name string
			if name, err = volumeOf(device); err == nil && name != c.Dataset {
				err = fmt.Errorf("%s leads to %s", c.Device, name)
			}
		}
		if err == nil {
			return device, nil
		}
		if waitErr := wait(ctx, 50*time.Millisecond); waitErr != nil {
			return "", fmt.Errorf("%w: %w", waitErr, err)
		}
	}
}

// systemDev is the directory of devices of a real host.
const systemDev = "/dev"

// volumeOf asks ZFS for the volume whose device this is.
func volumeOf(device string) (string, error) {
	const blkzname = 0x8100127d // _IOR(0x12, 125, char[256]) in include/sys/fs/zfs.h of OpenZFS
	file, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	var name [256]byte
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), blkzname, uintptr(unsafe.Pointer(&name))); errno != 0 { //nolint:gosec // ZFS writes the name there
		return "", fmt.Errorf("%s is not the device of a volume: %w", device, errno)
	}
	text, _, _ := strings.Cut(string(name[:]), "\x00")
	return text, nil
}

// path returns the path of a device of this host.
func (l Local) path(device string) string {
	rest, err := filepath.Rel("/dev", device)
	if err != nil || l.Dev == "" {
		return device
	}
	return filepath.Join(l.Dev, rest)
}

// InspectWord is the hidden command with which snapwatch starts itself to read a clone.
const InspectWord = "drill-inspect"

// Inspect implements [World].
func (l Local) Inspect(ctx context.Context, lock *os.File, c drill.Clone, part *checker.Part) (found drill.Inspection, err error) {
	argv := []string{l.Self, InspectWord}
	if part != nil {
		argv = append(argv, fmt.Sprintf("--from=%g", part.From), fmt.Sprintf("--to=%g", part.To))
	}
	if c.Filesystem {
		if err := files.Directory(l.MountDir, 0o700); err != nil {
			return found, err
		}
		argv = append(argv, "--mount="+l.MountDir, c.Dataset)
	} else {
		argv = append(argv, c.Device)
	}
	output, err := command.Output(ctx, command.Cmd{Argv: argv, Inherit: inherited(lock), DiesWithUs: true})
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal([]byte(output), &found)
}

// Look implements [World].
func (Local) Look(ctx context.Context, lock *os.File, devices []string) (sight drill.Sight, err error) {
	output, complaint, err := fish(ctx, lock, drill.ListScript(devices))
	if err != nil {
		return sight, err
	}
	listing, fault, err := drill.ParseList(output, complaint)
	switch {
	case err != nil:
		return sight, err
	case fault != "": // the drill that ends it must find at least one file system
		return drill.Sight{FileSystems: 1, Wrong: []string{fault}}, nil
	}
	steps, skipped := listing.Steps()
	sight.Unknown = listing.Unknown()
	if sight.FileSystems = len(listing.FileSystems) - len(skipped); sight.FileSystems == 0 {
		sight.Remarks = append(skipped, "no file system was found")
		return sight, nil
	}
	output, complaint, err = fish(ctx, lock, drill.CheckScript(devices, steps))
	if err != nil {
		return sight, err
	}
	wrong, remarks, err := drill.ParseCheck(output, complaint, steps)
	sight.Wrong, sight.Remarks = wrong, append(skipped, remarks...)
	return sight, err
}

// fish runs a script by guestfish, until ctx ends. complaint is the error of guestfish if a command of
// the script failed, "" if none did.
func fish(ctx context.Context, lock *os.File, script string) (output, complaint string, err error) {
	output, err = command.Output(ctx, command.Cmd{Argv: []string{guestfish}, Stdin: script, Inherit: inherited(lock), DiesWithUs: true})
	if failed, is := errors.AsType[*command.Error](err); is && command.ExitCode(err) == 1 && ctx.Err() == nil {
		return output, failed.Error(), nil
	}
	return output, "", err
}

// Records implements [World].
func (l Local) Records() (drill.Records, error) {
	path := filepath.Join(l.StateDir, checker.ProofsName)
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records, err := checker.ParseProofs(text)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged; move it away: %w", path, err)
	}
	return records, nil
}

// Record implements [World]. Drills of several guests may end at the same time.
func (l Local) Record(ctx context.Context, g drill.Guest, p checker.Drill) error {
	if err := errors.Join(files.Directory(l.LockDir, 0o700), files.Directory(l.StateDir, 0o755)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	held, err := lock.Wait(ctx, filepath.Join(l.LockDir, "drills.lock"), l.Now())
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	records, err := l.Records()
	if err != nil {
		return err
	}
	text, err := checker.FormatProofs(records.With(g, p))
	if err != nil {
		return err
	}
	return files.Replace(filepath.Join(l.StateDir, checker.ProofsName), text, 0o644)
}
