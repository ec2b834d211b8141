package drill

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"snapwatch/checker"
)

// FileSystem describes the content of a device in libguestfs' appliance: a file system, swap, LVM or
// unknown data.
type FileSystem struct{ Device, Kind string }

// Listing is what libguestfs found on the clones of a guest.
type Listing struct {
	FileSystems []FileSystem
	// Roots are the devices with the root file systems of operating systems.
	Roots []string
}

// Sight is the result of a look at the volumes of a guest.
type Sight struct {
	// FileSystems is the number of file systems that were looked at, Unknown that of the contents that
	// were not recognised.
	FileSystems, Unknown int
	// Wrong are the faults that were found, Remarks other facts.
	Wrong, Remarks []string
}

// maxFileSystems is the largest number of file systems on the disks of a guest that a drill looks at.
const maxFileSystems = 200

// The lines that guestfish prints between the answers of its commands.
const (
	startedMark     = "snapwatch: started"
	fileSystemsMark = "snapwatch: file systems"
	rootsMark       = "snapwatch: roots"
	stepMark        = "snapwatch: done "
	endMark         = "snapwatch: end"
)

// unfit are parts of the complaints of guestfish that say nothing about the file systems: the
// virtual machine of the appliance, or a program in it, was killed or had no memory, or the appliance
// lacks a program or a module of the kernel, such as those of xfs, or its programs are too old.
var unfit = []string{
	"appliance closed the connection", "by signal", "allocate memory", "ut of memory", "No space left on device", "timed out",
	"failed to execute", "is not available in this build", "unknown filesystem type", "unsupported feature",
}

// isUnfit reports whether a complaint of guestfish says nothing about the file systems.
func isUnfit(complaint string) bool {
	return slices.ContainsFunc(unfit, func(part string) bool { return strings.Contains(complaint, part) })
}

// aroundCause matches what guestfish says before the cause of a failure. A message may be cut off, so
// the cause comes first.
var aroundCause = regexp.MustCompile(`^.*?libguestfs: error: (\S+: \S+ exited with status \d+: )?(mount: /\S+: )?`)

// Devices in the appliance, and kinds of file systems. The names of volumes and of volume groups
// come from the guest, and go into the script of the second look: no other character is accepted.
var (
	applianceDevice = regexp.MustCompile(`^/dev/[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*$`)
	kindWord        = regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`)
)

// subvolume is the beginning of the name under which libguestfs lists a subvolume of btrfs, besides
// the file system itself.
const subvolume = "btrfsvol:"

// start returns the beginning of a script of guestfish: the clones' devices, and the start of the
// appliance. The format is given, because a guest could write the header of another format into
// its disk.
func start(devices []string) []string {
	lines := []string{"set-backend direct"}
	for _, d := range devices {
		lines = append(lines, fmt.Sprintf("add-drive %q format:raw", d))
	}
	return append(lines, "run", "echo "+startedMark)
}

// ListScript returns the script for guestfish that lists the file systems on the devices.
func ListScript(devices []string) string {
	return script(append(start(devices), "echo "+fileSystemsMark, "list-filesystems", "echo "+rootsMark, "inspect-os", "echo "+endMark))
}

func script(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// ParseList reads what guestfish printed for [ListScript]. complaint is the error of guestfish, "" if it
// ended well. wrong is a fault for which no list was made: libguestfs lists the subvolumes of a btrfs,
// and fails if a btrfs cannot be mounted. An error means that it is unknown whether there is a fault.
func ParseList(output, complaint string) (l Listing, wrong string, err error) {
	switch {
	case complaint == "":
		l, err = parseList(output)
		return l, "", err
	case !strings.HasPrefix(output, startedMark+"\n"):
		return l, "", fmt.Errorf("the appliance did not start: %s", complaint)
	case isUnfit(complaint), strings.Contains(output, rootsMark), !strings.Contains(complaint, " exited with status "): // no program found a fault in the file systems
		return l, "", fmt.Errorf("the appliance failed while listing the file systems: %s", complaint)
	}
	return l, "listing the file systems: " + aroundCause.ReplaceAllString(complaint, ""), nil
}

func parseList(output string) (Listing, error) {
	var l Listing
	lines := strings.Split(output, "\n")
	if lines[len(lines)-1] != "" || len(lines) < 5 || lines[0] != startedMark || lines[1] != fileSystemsMark || lines[len(lines)-2] != endMark {
		return l, fmt.Errorf("guestfish printed an incomplete list: %q", clip(output))
	}
	roots := false
	for _, line := range lines[2 : len(lines)-2] {
		device, kind, two := strings.Cut(line, ": ")
		switch {
		case line == rootsMark && !roots:
			roots = true
		case roots && applianceDevice.MatchString(line):
			l.Roots = append(l.Roots, line)
		case roots && strings.HasPrefix(line, subvolume): // the root is in a subvolume, which is on a listed file system
		case !roots && two && strings.HasPrefix(device, subvolume) && kindWord.MatchString(kind):
		case !roots && two && applianceDevice.MatchString(device) && kindWord.MatchString(kind):
			l.FileSystems = append(l.FileSystems, FileSystem{device, kind})
		default:
			return Listing{}, fmt.Errorf("guestfish printed an unexpected line %q", clip(line))
		}
	}
	if !roots {
		return Listing{}, fmt.Errorf("guestfish printed no line %q", rootsMark)
	}
	if len(l.FileSystems) > maxFileSystems {
		return Listing{}, fmt.Errorf("%d file systems are too many: at most %d are looked at", len(l.FileSystems), maxFileSystems)
	}
	return l, nil
}

// Unknown returns the number of contents that libguestfs did not recognise.
func (l Listing) Unknown() (n int) {
	for _, f := range l.FileSystems {
		if f.Kind == "unknown" {
			n++
		}
	}
	return n
}

// Lost returns the fault that a drill does not recognise a file system which the good drill before it
// looked at, "" without such a fault. The contents of a device are unknown if the file system's
// superblock is damaged, or the label of its physical volume. A file system that was removed leaves no
// unknown contents; only a guest that has lost all of them fails in any case. before is nil if there
// was no good drill.
func Lost(before *checker.Drill, d checker.Drill) string {
	if before == nil || d.FileSystems >= before.FileSystems || d.FileSystems > 0 && d.Unknown <= before.Unknown {
		return ""
	}
	return fmt.Sprintf("not recognised: %d of %d file systems that the drill of %s found", before.FileSystems-d.FileSystems, before.FileSystems, checker.Point{Time: before.Point}.Words())
}

// clip shortens the output of guestfish for a message.
func clip(output string) string {
	const most = 200
	if len(output) > most {
		return output[:most] + "…"
	}
	return output
}

// Step is one part of the look at a file system. A step whose command fails found a fault.
type Step struct {
	// What says what the step does, with the device.
	What     string
	commands []string
	// faults is not 0 if the last command prints the exit status of a checker: 0 means no fault, 1 to
	// faults mean faults, and all others mean that the checker could not check.
	faults int64
	// text is true if the last command prints a text for people.
	text bool
}

// Steps returns the look at the listed file systems. First each file system is mounted with its
// journal replayed, as a guest would at its start. After that its checker must find no fault, and
// it must be mountable for reading. remarks name the contents that are not looked at.
func (l Listing) Steps() (steps []Step, remarks []string) {
	for _, f := range l.FileSystems {
		replay := Step{What: fmt.Sprintf("mounting %s (%s), which replays its journal", f.Device, f.Kind), commands: []string{"mount " + f.Device + " /", "umount /"}}
		check := Step{What: fmt.Sprintf("checking %s (%s)", f.Device, f.Kind)}
		read := Step{What: fmt.Sprintf("reading the root directory of %s (%s)", f.Device, f.Kind), commands: []string{"mount-ro " + f.Device + " /", "exists /", "umount /"}}
		switch f.Kind {
		case "ext2", "ext3", "ext4":
			// The command fsck of libguestfs checks a file system that was unmounted cleanly only if it was
			// mounted too often; the command e2fsck repairs some faults and does not say so.
			check.commands = []string{"tune2fs " + f.Device + " maxmountcount:1 mountcount:2", "fsck " + f.Kind + " " + f.Device}
			check.faults = 7 // 8 and more are added for operational errors, such as an unknown feature
			steps = append(steps, replay, check, read)
		case "xfs":
			check.commands, check.faults = []string{"xfs-repair " + f.Device + " nomodify:true"}, 1
			steps = append(steps, replay, check, read)
		case "btrfs":
			check.commands = []string{"btrfs-fsck " + f.Device}
			steps = append(steps, replay, check, read)
		case "ntfs", "vfat", "exfat", "iso9660", "squashfs", "f2fs", "reiserfs", "jfs":
			// A vfat that was in use is marked as not clean, which is no fault.
			steps = append(steps, read)
		default:
			remarks = append(remarks, fmt.Sprintf("%s is %s, which is not looked at", f.Device, f.Kind))
		}
	}
	for _, root := range l.Roots {
		steps = append(steps, Step{What: "recognising the system on " + root, text: true,
			commands: []string{"inspect-os", "echo " + stepMark + "os", "inspect-get-product-name " + root}})
	}
	return steps, remarks
}

// CheckScript returns the script for guestfish that carries out the steps on the devices. guestfish
// ends at the first command that fails.
func CheckScript(devices []string, steps []Step) string {
	lines := start(devices)
	for i, s := range steps {
		lines = append(append(lines, s.commands...), "echo "+stepMark+strconv.Itoa(i))
	}
	return script(append(lines, "echo "+endMark))
}

// ParseCheck reads what guestfish printed for [CheckScript]. complaint is the error of guestfish, ""
// if it ended well. The look ends at the first fault, so wrong has at most one entry. An error means
// that it is unknown whether there is a fault.
func ParseCheck(output, complaint string, steps []Step) (wrong, remarks []string, err error) {
	lines := strings.Split(output, "\n")
	if lines[len(lines)-1] != "" {
		return nil, nil, fmt.Errorf("guestfish ended in the middle of a line: %q", clip(output))
	}
	if lines = lines[:len(lines)-1]; len(lines) == 0 || lines[0] != startedMark {
		return nil, nil, fmt.Errorf("the appliance did not start: %s", complaint)
	}
	lines = lines[1:]
	var unchecked error
	for i, s := range steps {
		end := slices.Index(lines, stepMark+strconv.Itoa(i))
		switch {
		case end < 0 && complaint == "":
			return nil, remarks, fmt.Errorf("guestfish ended without a word while %s", s.What)
		case end < 0 && isUnfit(complaint):
			return nil, remarks, fmt.Errorf("the appliance failed while %s: %s", s.What, complaint)
		case end < 0:
			return []string{s.What + ": " + aroundCause.ReplaceAllString(complaint, "")}, remarks, nil
		}
		printed := lines[:end]
		lines = lines[end+1:]
		if at := slices.Index(printed, stepMark+"os"); s.text && at >= 0 {
			printed = printed[at+1:]
		}
		last := ""
		if len(printed) > 0 {
			last = printed[len(printed)-1]
		}
		switch number, numberErr := strconv.ParseInt(last, 0, 32); {
		case s.text && last != "":
			remarks = append(remarks, last)
		case s.faults > 0 && numberErr != nil:
			return nil, remarks, fmt.Errorf("guestfish printed %q instead of a number while %s", clip(last), s.What)
		case s.faults > 0 && (number < 0 || number > s.faults):
			unchecked = cmp.Or(unchecked, fmt.Errorf("%s: the checker could not check (exit status %d)", s.What, number))
		case s.faults > 0 && number > 0:
			return []string{fmt.Sprintf("%s: the checker found faults (exit status %d)", s.What, number)}, remarks, nil
		}
	}
	if len(lines) != 1 || lines[0] != endMark {
		return nil, remarks, fmt.Errorf("guestfish printed more than was asked for: %q", clip(strings.Join(lines, "\n")))
	}
	return nil, remarks, unchecked
}
