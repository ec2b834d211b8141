package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cgroup freezes all processes of a container by cgroup.freeze of cgroup v2 (see
// Documentation/admin-guide/cgroup-v2.rst in the kernel).
type cgroup struct{ dir string }

// The constant `look` is the time between two readings of cgroup.events while Freeze waits for all
// processes to be frozen.
const look = 5 * time.Millisecond

// Frozen implements [Freezer].
func (c cgroup) Frozen(context.Context) (bool, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.freeze"))
	if err != nil {
		return false, fmt.Errorf("the container has no freezer (cgroup v2): %w", err)
	}
	switch strings.TrimSpace(string(text)) {
	case "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, fmt.Errorf("%s/cgroup.freeze says %q", c.dir, text)
}

// Freeze implements [Freezer]. Freeze waits until all processes of the container are frozen. A
// process that waits for a disk freezes only after the disk has answered.
func (c cgroup) Freeze(ctx context.Context) (int, error) {
	frozen, err := c.Frozen(ctx)
	if err != nil {
		return 0, err
	}
	if frozen {
		return 0, ErrForeign
	}
	if err := c.write("1"); err != nil {
		return 0, err
	}
	for {
		stopped, err := c.stopped()
		if err != nil {
			return 0, err
		}
		if stopped {
			return 1, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("a process of the container cannot be frozen: %w", ctx.Err())
		case <-time.After(look):
		}
	}
}

// stopped reports whether the kernel has frozen all processes of the container.
func (c cgroup) stopped() (bool, error) {
	events, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
	return strings.Contains("\n"+string(events), "\nfrozen 1\n"), err
}

// Thaw implements [Freezer]. Before the thaw, Thaw reads whether the container is frozen, because
// the kernel accepts a thaw of a cgroup that is not frozen. A cgroup that is not frozen may belong
// to a container that was restarted.
func (c cgroup) Thaw(ctx context.Context) (int, error) {
	frozen, _ := c.Frozen(ctx)
	stopped, _ := c.stopped()
	err := c.write("0")
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV):
		return 0, fmt.Errorf("%w: %w", ErrGone, err)
	case err == nil && frozen && stopped:
		return 1, nil
	}
	return 0, err
}

// write writes to the container's cgroup.freeze. write opens the file without O_CREAT, so that no
// file is created if the cgroup no longer exists.
func (c cgroup) write(value string) error {
	file, err := os.OpenFile(filepath.Join(c.dir, "cgroup.freeze"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
