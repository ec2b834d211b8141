package zfs

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/command"
)

// PoolHealth is what zpool(8) says of one pool.
type PoolHealth struct {
	// State is ONLINE, DEGRADED, FAULTED, UNAVAIL, SUSPENDED or another word of ZFS's own.
	State string `json:"state"`
	// Size and Allocated are in bytes, as the devices have them: with the parity.
	Size      uint64 `json:"size"`
	Allocated uint64 `json:"allocated"`
	// Created is when the pool was made; zero, and not asked for, where a scrub or a resilver
	// has ended.
	Created time.Time `json:"created,omitzero"`
	// Scrub is the last scrub, or the one under way, Resilver likewise. Of both, ZFS may tell
	// only the later one.
	Scrub    PoolScan `json:"scrub,omitzero"`
	Resilver PoolScan `json:"resilver,omitzero"`
	// DataErrors is how many permanent errors there are.
	DataErrors uint64 `json:"data_errors,omitempty"`
	// Devices are those that are not well.
	Devices []Device `json:"devices,omitempty"`
	// Unknown are lines that could not be understood.
	Unknown []string `json:"unknown,omitempty"`
	// Damaged are the places of permanent errors as ZFS names them; nil where they were not
	// asked for, which needs root.
	Damaged []string `json:"-"`
}

// ScanState is how far a scrub or a resilver is.
type ScanState string

// The states of a scan; "" is none.
const (
	ScanRunning  ScanState = "running"
	ScanPaused   ScanState = "paused"
	ScanFinished ScanState = "finished"
	ScanCanceled ScanState = "canceled"
)

// PoolScan is a scrub or a resilver.
type PoolScan struct {
	State ScanState `json:"state,omitempty"`
	// Start is zero where ZFS tells only the end, End while it is under way.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// Errors is how many it found and could not mend.
	Errors uint64 `json:"errors,omitempty"`
}

// UnderWay reports whether the scan has begun and not ended.
func (s PoolScan) UnderWay() bool { return s.State == ScanRunning || s.State == ScanPaused }

// Device is a device of a pool, or a group of them, that is not well.
type Device struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Read     uint64 `json:"read_errors,omitempty"`
	Write    uint64 `json:"write_errors,omitempty"`
	Checksum uint64 `json:"checksum_errors,omitempty"`
}

// Errors is how many errors of any kind were counted.
func (d Device) Errors() uint64 { return d.Read + d.Write + d.Checksum }

// There reports whether the device can be used; a group also where parts of it cannot.
func (d Device) There() bool {
	return slices.Contains([]string{"ONLINE", "DEGRADED", "AVAIL", "INUSE"}, d.State)
}

func (d Device) well() bool { return d.Errors() == 0 && d.State != "DEGRADED" && d.There() }

// Health asks zpool(8) how a pool is, which must not be suspended: see [CheckPool]. It needs
// no root.
func (r Reader) Health(ctx context.Context, pool string) (PoolHealth, error) {
	return r.health(ctx, pool, "-p")
}

// HealthAndDamage is Health with the places of permanent errors, which needs root.
func (r Reader) HealthAndDamage(ctx context.Context, pool string) (PoolHealth, error) {
	return r.health(ctx, pool, "-vp")
}

func (r Reader) health(ctx context.Context, pool, flags string) (PoolHealth, error) {
	h, err := r.status(ctx, pool, flags)
	if err != nil {
		return PoolHealth{}, err
	}
	if h.Size, h.Allocated, err = r.space(ctx, pool); err != nil {
		return PoolHealth{}, err
	}
	if h.Scrub.State != ScanFinished && h.Resilver.State != ScanFinished {
		h.Created, err = r.created(ctx, pool)
	}
	return h, err
}

// status runs zpool status for JSON, and for text where zpool does not know the flag (before
// 2.3): then it ends with its usage before it looks at the pool.
func (r Reader) status(ctx context.Context, pool, flags string) (PoolHealth, error) {
	text, err := r.output(ctx, "zpool", "status", "-j", flags, pool)
	const usage = 2
	if command.ExitCode(err) == usage {
		if text, err = r.output(ctx, "zpool", "status", flags, pool); err != nil {
			return PoolHealth{}, err
		}
		return parsePoolStatus(text, pool, time.Local)
	}
	if err != nil {
		return PoolHealth{}, err
	}
	return parsePoolJSON(text, pool)
}

// space is how large the pool is, and how much of it is taken.
func (r Reader) space(ctx context.Context, pool string) (size, allocated uint64, err error) {
	text, err := r.output(ctx, "zpool", "list", "-Hp", "-o", "name,size,allocated", pool)
	if err != nil {
		return 0, 0, err
	}
	words := strings.Split(strings.TrimSuffix(text, "\n"), "\t")
	if len(words) == 3 && words[0] == pool {
		var sizeErr, allocatedErr error
		size, sizeErr = strconv.ParseUint(words[1], 10, 64)
		allocated, allocatedErr = strconv.ParseUint(words[2], 10, 64)
		if sizeErr == nil && allocatedErr == nil && size > 0 && allocated <= size {
			return size, allocated, nil
		}
	}
	return 0, 0, unreadable("zpool list printed %q for the size of pool %s", text, pool)
}

// created is when the pool was made: its first dataset was made with it.
func (r Reader) created(ctx context.Context, pool string) (time.Time, error) {
	text, err := r.output(ctx, "zfs", "list", "-Hp", "-d", "0", "-o", "creation", pool)
	if err != nil {
		return time.Time{}, err
	}
	made, err := parseTime(strings.TrimSpace(text))
	if err != nil {
		return time.Time{}, unreadable("zfs list printed for the creation of %s: %w", pool, err)
	}
	return made, nil
}

// Feature is the state of a feature on a pool: active, enabled or disabled.
func (r Reader) Feature(ctx context.Context, pool, feature string) (string, error) {
	text, err := r.output(ctx, "zpool", "get", "-Hp", "-o", "value", "feature@"+feature, pool)
	return strings.TrimSpace(text), err
}

// output runs one program and returns what it printed.
func (r Reader) output(ctx context.Context, argv ...string) (string, error) {
	var text strings.Builder
	err := r.lines(ctx, argv, func(line string) error {
		text.WriteString(line)
		text.WriteByte('\n')
		return nil
	})
	return text.String(), err
}
