package zfs

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/command"
)

// PoolHealth is the state of one pool according to zpool(8).
type PoolHealth struct {
	// State is ZFS's word for the state of the pool, such as ONLINE, DEGRADED, FAULTED, UNAVAIL or
	// SUSPENDED.
	State string `json:"state"`
	// Size and Allocated are the raw sizes of the pool in bytes, including parity.
	Size      uint64 `json:"size"`
	Allocated uint64 `json:"allocated"`
	// Created is the time when the pool was created. If a scrub or resilver has ended, Created is
	// not read, and is zero.
	Created time.Time `json:"created,omitzero"`
	// Scrub is the running or last scrub, and Resilver is the running or last resilver. Some
	// versions of ZFS report only the later of scrub and resilver.
	Scrub    PoolScan `json:"scrub,omitzero"`
	Resilver PoolScan `json:"resilver,omitzero"`
	// DataErrors is the number of permanent errors of the pool.
	DataErrors uint64 `json:"data_errors,omitempty"`
	// Devices has the devices of the pool that are faulty or have errors.
	Devices []Device `json:"devices,omitempty"`
	// Unknown has the lines of zpool's output that snapwatch does not understand.
	Unknown []string `json:"unknown,omitempty"`
	// Damaged has the files and objects with permanent errors, as zpool status -v names them.
	// Damaged is nil if the list of permanent errors was not read. Only root can read the list of
	// permanent errors.
	Damaged []string `json:"-"`
}

// ScanState is the stage of a scrub or a resilver.
type ScanState string

// The stages of a scrub or a resilver. The empty ScanState means that the pool was never scrubbed
// or resilvered.
const (
	ScanRunning  ScanState = "running"
	ScanPaused   ScanState = "paused"
	ScanFinished ScanState = "finished"
	ScanCanceled ScanState = "canceled"
)

// PoolScan is a scrub or a resilver of a pool.
type PoolScan struct {
	State ScanState `json:"state,omitempty"`
	// Start is the time when the scan began, zero if ZFS reports only the end of the scan. End is
	// the time when the scan ended, zero while the scan runs.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// Errors is the number of errors that the scrub or resilver found and could not repair.
	Errors uint64 `json:"errors,omitempty"`
}

// UnderWay reports whether the scan has begun and has not ended yet.
func (s PoolScan) UnderWay() bool { return s.State == ScanRunning || s.State == ScanPaused }

// Device is a faulty device of a pool, or a faulty group of devices.
type Device struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Read     uint64 `json:"read_errors,omitempty"`
	Write    uint64 `json:"write_errors,omitempty"`
	Checksum uint64 `json:"checksum_errors,omitempty"`
}

// Errors returns the number of all read, write and checksum errors of the device.
func (d Device) Errors() uint64 { return d.Read + d.Write + d.Checksum }

// There reports whether the pool can use the device, or the vdev of several devices. The pool can
// use a vdev even if some devices of the vdev are missing.
func (d Device) There() bool {
	return slices.Contains([]string{"ONLINE", "DEGRADED", "AVAIL", "INUSE"}, d.State)
}

func (d Device) well() bool { return d.Errors() == 0 && d.State != "DEGRADED" && d.There() }

// Health returns the state of a pool, read with zpool(8). The pool must not be suspended (see
// [CheckPool]). Health needs no root.
func (r Reader) Health(ctx context.Context, pool string) (PoolHealth, error) {
	return r.health(ctx, pool, "-p")
}

// HealthAndDamage returns the state of a pool, like Health. HealthAndDamage also reads the list of
// files and objects with permanent errors, for which it must run as root.
func (r Reader) HealthAndDamage(ctx context.Context, pool string) (PoolHealth, error) {
	return r.health(ctx, pool, "-vp")
}

func (r Reader) health(ctx context.Context, pool, flags string) (PoolHealth, error) {
	h, err := r.status(ctx, pool, flags)
	if err != nil {
		return PoolHealth{}, err
	}
	if h.Size, h.Allocated, err = r.Space(ctx, pool); err != nil {
		return PoolHealth{}, err
	}
	if h.Scrub.State != ScanFinished && h.Resilver.State != ScanFinished {
		h.Created, err = r.created(ctx, pool)
	}
	return h, err
}

// status returns the state of the pool as zpool status prints it. zpool before 2.3 does not know
// the flag for JSON: it prints its usage and exits before it touches the pool. status then runs
// zpool a second time, with text output.
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

// Space returns the pool's size and its allocated part, in bytes, as zpool(8) prints them.
func (r Reader) Space(ctx context.Context, pool string) (size, allocated uint64, err error) {
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

// created returns the time when the pool was created: the creation time of the pool's root dataset.
func (r Reader) created(ctx context.Context, pool string) (time.Time, error) {
	text, err := r.output(ctx, "zfs", "list", "-Hp", "-d", "0", "-o", "creation", pool)
	if err != nil {
		return time.Time{}, err
	}
	made, err := parseTime(strings.TrimSpace(text))
	if err != nil {
		return time.Time{}, unreadable("zfs list printed an unreadable creation time of %s: %w", pool, err)
	}
	return made, nil
}

// Feature returns the state of a feature on a pool: active, enabled or disabled.
func (r Reader) Feature(ctx context.Context, pool, feature string) (string, error) {
	text, err := r.output(ctx, "zpool", "get", "-Hp", "-o", "value", "feature@"+feature, pool)
	return strings.TrimSpace(text), err
}

// output runs one zfs or zpool command and returns its output.
func (r Reader) output(ctx context.Context, argv ...string) (string, error) {
	var text strings.Builder
	err := r.lines(ctx, argv, func(line string) error {
		text.WriteString(line)
		text.WriteByte('\n')
		return nil
	})
	return text.String(), err
}
