package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// vdev returns the path of the file in which a test pool is stored.
func vdev(pool string) string { return "/tmp/" + pool + ".vdev" }

// NewPool creates a pool in a file of mib MiB. Pools belong to the machine, so all sites see
// every pool.
func NewPool(ctx context.Context, name string, mib int) error {
	file, err := os.Create(vdev(name))
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(int64(mib)<<20), file.Close()); err != nil {
		return err
	}
	_, err = run(ctx, "zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", "-O", "compression=on", name, vdev(name))
	return err
}

// busyFor is the longest time for which destroy tries again while a pool or dataset is busy: udev
// opens each new volume, so a new volume is busy for some time.
const busyFor = time.Minute

// DestroyPool destroys a pool that NewPool created.
func DestroyPool(ctx context.Context, name string) error {
	if err := destroy(ctx, "zpool", "destroy", "-f", name); err != nil {
		return err
	}
	return os.Remove(vdev(name))
}

// DestroyDataset destroys a dataset with its children and snapshots.
func DestroyDataset(ctx context.Context, dataset string) error {
	return destroy(ctx, "zfs", "destroy", "-r", dataset)
}

// destroy runs a command that destroys a pool or dataset, and repeats the command while ZFS reports
// that the pool or dataset is busy.
func destroy(ctx context.Context, argv ...string) error {
	for end := time.Now().Add(busyFor); ; {
		_, err := run(ctx, argv...)
		if err == nil || !strings.Contains(err.Error(), "busy") || time.Now().After(end) {
			return err
		}
		if _, err := run(ctx, "udevadm", "settle", "--timeout=10"); err != nil {
			return err
		}
	}
}

// CreateZvol creates a sparse volume of mib MiB, with its parent datasets, and waits for the
// volume's device.
func CreateZvol(ctx context.Context, dataset string, mib int) error {
	if _, err := run(ctx, "zfs", "create", "-p", "-s", "-V", strconv.Itoa(mib)+"M", dataset); err != nil {
		return err
	}
	return WaitZvol(ctx, dataset)
}

// WaitZvol waits for the device of a new or received volume, because udev creates the device some
// time after ZFS creates the volume.
func WaitZvol(ctx context.Context, dataset string) error {
	_, err := run(ctx, "udevadm", "wait", "--timeout=60", "/dev/zvol/"+dataset)
	return err
}

// CreateFilesystem creates a file system, with its parent datasets, and does not mount it.
func CreateFilesystem(ctx context.Context, dataset string) error {
	_, err := run(ctx, "zfs", "create", "-p", "-u", dataset)
	return err
}

// Snapshot is a snapshot or bookmark in a pool.
type Snapshot struct {
	Name      string // the part after @ or #
	GUID      uint64
	CreateTXG uint64
	Creation  time.Time
}

// Snapshots lists the snapshots of one dataset, oldest first.
func Snapshots(ctx context.Context, dataset string) ([]Snapshot, error) {
	return list(ctx, "snapshot", dataset, '@')
}

// Bookmarks lists the bookmarks of one dataset, oldest first.
func Bookmarks(ctx context.Context, dataset string) ([]Snapshot, error) {
	return list(ctx, "bookmark", dataset, '#')
}

func list(ctx context.Context, kind, dataset string, separator byte) ([]Snapshot, error) {
	text, err := run(ctx, "zfs", "list", "-Hp", "-d", "1", "-t", kind, "-s", "createtxg", "-o", "name,guid,createtxg,creation", dataset)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, row := range rows(text) {
		if len(row) != 4 || len(row[0]) <= len(dataset) || row[0][len(dataset)] != separator {
			return nil, fmt.Errorf("zfs list -t %s %s: unexpected row %q", kind, dataset, row)
		}
		s := Snapshot{Name: row[0][len(dataset)+1:]}
		var errs [3]error
		var seconds int64
		s.GUID, errs[0] = strconv.ParseUint(row[1], 10, 64)
		s.CreateTXG, errs[1] = strconv.ParseUint(row[2], 10, 64)
		seconds, errs[2] = strconv.ParseInt(row[3], 10, 64)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		s.Creation = time.Unix(seconds, 0)
		all = append(all, s)
	}
	return all, nil
}

// Property returns a property's value and source. The property's source is local, received,
// default, "-" or "inherited from …".
func Property(ctx context.Context, dataset, name string) (value, source string, err error) {
	text, err := run(ctx, "zfs", "get", "-Hp", "-o", "value,source", name, dataset)
	if err != nil {
		return "", "", err
	}
	all := rows(text)
	if len(all) != 1 || len(all[0]) != 2 {
		return "", "", fmt.Errorf("zfs get %s %s: unexpected answer %q", name, dataset, text)
	}
	return all[0][0], all[0][1], nil
}
