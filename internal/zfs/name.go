package zfs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Class is the class of a managed snapshot. The values of all classes except Stopped are in the
// order of their periods, so that < compares two classes: the class with the shorter period is
// less.
type Class int

// The classes of managed snapshots. All classes except Stopped are in order, from the shortest to
// the longest period.
const (
	Stopped Class = iota
	Frequently
	Hourly
	Daily
	Weekly
	Monthly
	Yearly
)

// rotating has the classes whose snapshots are taken periodically, the longest period first.
var rotating = [...]Class{Yearly, Monthly, Weekly, Daily, Hourly, Frequently}

// Rotating returns the classes whose snapshots are taken periodically, the longest period first.
func Rotating() []Class { return append([]Class(nil), rotating[:]...) }

func (c Class) String() string {
	switch c {
	case Stopped:
		return "stopped"
	case Frequently:
		return "frequently"
	case Hourly:
		return "hourly"
	case Daily:
		return "daily"
	case Weekly:
		return "weekly"
	case Monthly:
		return "monthly"
	case Yearly:
		return "yearly"
	}
	return "class " + strconv.Itoa(int(c))
}

// nameTime is the format of the time in a managed snapshot's name, which is the node's local time.
// sanoid and pve-zfs-snap also write local times into names.
const nameTime = "2006-01-02_15:04:05"

// FormatSnapshotName returns the name of a managed snapshot, without the dataset and the @. The
// time t is written in t's own time zone.
func FormatSnapshotName(t time.Time, c Class) string {
	return "autosnap_" + t.Format(nameTime) + "_" + c.String()
}

// ParseSnapshotName returns the class of a managed snapshot from its name, the part after the @. If
// the name is not the name of a managed snapshot, ParseSnapshotName returns false. snapwatch
// neither counts nor destroys a snapshot that is not managed.
func ParseSnapshotName(name string) (Class, bool) {
	text, ours := strings.CutPrefix(name, "autosnap_")
	if !ours || len(text) <= len(nameTime) || text[len(nameTime)] != '_' || !isTime(text[:len(nameTime)]) {
		return 0, false
	}
	switch text[len(nameTime)+1:] {
	case "stopped":
		return Stopped, true
	case "frequently":
		return Frequently, true
	case "hourly":
		return Hourly, true
	case "daily":
		return Daily, true
	case "weekly":
		return Weekly, true
	case "monthly":
		return Monthly, true
	case "yearly":
		return Yearly, true
	}
	return 0, false
}

// DayOf returns the calendar day in a managed snapshot's name, in the zone of the node that made
// the snapshot, or "" if the name is too short. DayOf takes the day from the name, and not from the
// creation time, because a relay in another zone must keep the same snapshots as the source: if
// they kept different snapshots, relay and source might have no bookmark in common.
func DayOf(name string) string {
	const from, to = len("autosnap_"), len("autosnap_2006-01-02")
	if len(name) < to {
		return ""
	}
	return name[from:to]
}

// isTime reports whether text has the form of the time in a snapshot's name: digits at the places
// where nameTime has digits, and the characters of nameTime at all other places. isTime uses no
// regular expression, because a regular expression would take most of the time in which a run
// plans.
func isTime(text string) bool {
	for i := range len(nameTime) {
		digit := '0' <= text[i] && text[i] <= '9'
		if '0' <= nameTime[i] && nameTime[i] <= '9' {
			if !digit {
				return false
			}
		} else if text[i] != nameTime[i] {
			return false
		}
	}
	return true
}

// DiskKind is the kind of a guest's disk, according to the disk's name.
type DiskKind int

const (
	// GuestDisk is a disk of a guest that can run: vm-N-disk-M, subvol-N-disk-M.
	GuestDisk DiskKind = iota
	// TemplateDisk is a disk of a template: base-N-disk-M, basevol-N-disk-M.
	TemplateDisk
)

// ParseDiskName returns the VMID and kind of a guest's disk from the last component of its
// dataset's name. ParseDiskName returns false for every other dataset, including cloudinit, state
// and fleece volumes. Like isTime, ParseDiskName uses no regular expression.
func ParseDiskName(name string) (vmid int, kind DiskKind, ok bool) {
	prefix, rest, _ := strings.Cut(name, "-")
	id, number, _ := strings.Cut(rest, "-disk-")
	if !isNumber(id) || !isNumber(number) || id[0] == '0' || len(id) > vmidDigits {
		return 0, 0, false
	}
	switch prefix {
	case "vm", "subvol":
		kind = GuestDisk
	case "base", "basevol":
		kind = TemplateDisk
	default:
		return 0, 0, false
	}
	vmid, err := strconv.Atoi(id)
	return vmid, kind, err == nil
}

// vmidDigits is the number of digits of Proxmox's largest VMID, 999999999.
const vmidDigits = 9

func isNumber(text string) bool {
	notDigit := func(c rune) bool { return c < '0' || c > '9' }
	return text != "" && !strings.ContainsFunc(text, notDigit)
}

// Base returns the last component of a dataset's name.
func Base(dataset string) string { return dataset[strings.LastIndexByte(dataset, '/')+1:] }

// Parent returns a dataset's name without its last component, or "" for the root dataset of a pool.
func Parent(dataset string) string {
	return dataset[:max(0, strings.LastIndexByte(dataset, '/'))]
}

// Pool returns the first component of a dataset's name.
func Pool(dataset string) string {
	pool, _, _ := strings.Cut(dataset, "/")
	return pool
}

// Within reports whether dataset is the dataset root or a dataset below root.
func Within(dataset, root string) bool {
	return dataset == root || strings.HasPrefix(dataset, root+"/")
}

// WithinAny reports whether dataset is one of the roots, or a dataset below one of the roots.
func WithinAny(dataset string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return Within(dataset, root) })
}

var (
	datasetName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.: -]*(/[A-Za-z0-9_.: -]+)*$`)
	snapshotPart = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)
)

// maxName is the longest full name of a snapshot or bookmark, in bytes.
const maxName = 255

// ValidDataset reports whether zfs accepts name as the name of a dataset.
func ValidDataset(name string) bool { return len(name) <= maxName && datasetName.MatchString(name) }

// ValidSnapshot reports whether dataset@name may be passed to a channel program. Channel programs
// do not check names, and an empty name corrupts the pool (openzfs #13548).
func ValidSnapshot(dataset, name string) bool {
	return ValidDataset(dataset) && snapshotPart.MatchString(name) && len(dataset)+1+len(name) <= maxName
}

// ParseSnapshotTime returns the time in a managed snapshot's name. ParseSnapshotTime treats the
// time in the name as UTC, because the name has no time zone.
func ParseSnapshotTime(name string) (time.Time, error) {
	text := strings.TrimPrefix(name, "autosnap_")
	return time.Parse(nameTime, text[:min(len(nameTime), len(text))])
}
