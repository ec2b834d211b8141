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

// cgroup stops all processes of a container: cgroup.freeze of cgroup v2, in the
// kernel's Documentation/admin-guide/cgroup-v2.rst.
type cgroup struct{ dir string }

// look is how often cgroup.events is read while processes come to a stop.
const look = 5 * time.Millisecond

// Frozen implements [Freezer].
func (c cgroup) Frozen(context.Context) (bool, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.freeze"))
	if err != nil {
		return false, fmt.Errorf("it has no freezer (cgroup v2): %w", err)
	}
	switch strings.TrimSpace(string(text)) {
	case "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, fmt.Errorf("%s/cgroup.freeze says %q", c.dir, text)
}

// Freeze implements [Freezer]. A process that waits for a disk stops when it has been
// served; until all have, the container is not frozen.
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
			return 0, fmt.Errorf("a process of it does not stop: %w", ctx.Err())
		case <-time.After(look):
		}
	}
}

// stopped reports whether all its processes have come to a stop.
func (c cgroup) stopped() (bool, error) {
	events, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
	return strings.Contains("\n"+string(events), "\nfrozen 1\n"), err
}

// Thaw implements [Freezer]. What was frozen is read before: the kernel takes a 0 from
// everybody, and a container that was restarted has a cgroup of its own there.
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

// write opens without O_CREAT: in a cgroup that is gone nothing is made.
func (c cgroup) write(value string) error {
	file, err := os.OpenFile(filepath.Join(c.dir, "cgroup.freeze"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
