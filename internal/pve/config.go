package pve

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// Kind is the kind of a guest: a virtual machine (qemu) or a container (lxc).
type Kind string

// The kinds of guests, as Proxmox writes them in ids.
const (
	QEMU Kind = "qemu"
	LXC  Kind = "lxc"
)

func (k Kind) configDir() string {
	if k == QEMU {
		return "qemu-server"
	}
	return "lxc"
}

// nameKey returns the key that holds a guest's name in its Proxmox configuration file: name or
// hostname.
func (k Kind) nameKey() string {
	if k == QEMU {
		return "name"
	}
	return "hostname"
}

// ID identifies a guest by kind and VMID. As a text, an ID has the form that Proxmox and Proxmox's
// exporters use, such as qemu/100.
type ID struct {
	VMID int
	Kind Kind
}

func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Kind, id.VMID) }

// Config is the part of a guest's configuration file that matters for the guest's disks.
type Config struct {
	ID
	Template bool
	// Name is the guest's name, "" if the guest has no name.
	Name string
	// Lock is Proxmox's mark for an operation that is running, such as backup, migrate or rollback.
	// The lock "suspended" marks a hibernated guest.
	Lock string
	// Volumes has all volumes that the current configuration names, and all paths in options that
	// Proxmox passes to QEMU or LXC without reading them.
	Volumes []Volume
	// Snapshots has the names of the snapshots that Proxmox made of the guest.
	Snapshots []string
	// Text is the whole text of the guest's configuration file.
	Text string
	// Changed is the time when the configuration file was last written. The lock word in the field
	// Lock was set no later than Changed.
	Changed time.Time
	// Problem is the reason why the file could not be read, "" if the configuration file was read.
	// If Problem is set, only the guest's ID is known: the guest may be in any state and use any
	// disk.
	Problem string
	// Warnings has a text for each line of the configuration that Proxmox understands differently
	// from a person.
	Warnings []string
}

// Volume is a disk that a line of a guest's configuration names, or a path in a line that Proxmox
// passes to QEMU or LXC.
type Volume struct {
	// Key is the key of the configuration line, such as scsi0, rootfs, unused1 or args.
	Key string
	// Storage is the storage's name, or "" for a path on the node.
	Storage string
	// Name is the last component of the volume's name, such as vm-100-disk-0.
	Name string
}

// String returns the volume in the form that a guest's configuration uses, such as
// local-zfs:vm-100-disk-0.
func (v Volume) String() string {
	if v.Storage == "" {
		return v.Name
	}
	return v.Storage + ":" + v.Name
}

// Unused reports whether the volume is listed as unused, that is, not attached to the guest.
func (v Volume) Unused() bool { return strings.HasPrefix(v.Key, "unused") }

// Raw reports whether the volume is a path that Proxmox passes to QEMU or LXC without reading it.
func (v Volume) Raw() bool { return rawKey.MatchString(v.Key) }

var (
	rawKey  = regexp.MustCompile(`^(?:args|lxc\.mount\.entry|dev\d+)$`)
	rawLine = map[Kind]*regexp.Regexp{
		QEMU: regexp.MustCompile(`^(args):(.*)$`),
		LXC:  regexp.MustCompile(`^(lxc\.mount\.entry|dev\d+)` + blank + `*[:=]` + blank + `*([^ \t]*)`),
	}
	rawPath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])(/[A-Za-z0-9_.:/-]+)`)
)

// rawVolumes returns the paths in a line that Proxmox passes to QEMU or LXC without reading them.
func rawVolumes(kind Kind, line string) (volumes []Volume) {
	m := rawLine[kind].FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	for _, p := range rawPath.FindAllStringSubmatch(m[2], -1) {
		volumes = append(volumes, Volume{Key: m[1], Name: path.Clean(p[1])})
	}
	return volumes
}

var volumeKey = regexp.MustCompile(`^(?:(?:ide|sata|scsi|virtio|unused|mp)\d+|efidisk0|tpmstate0|rootfs)$`)

// part is the kind of a section of a guest's configuration file.
type part int

const (
	// current is the section in force; pending takes effect at the guest's next start.
	current part = iota
	pending
	// past is the section of a snapshot of the guest, or a section with Proxmox's own notes.
	past
	// skipped is a section of a kind that Proxmox does not know.
	skipped
)

var (
	bracketed    = regexp.MustCompile(`^\[[^\]]*\]` + blank + `*$`)
	snapshotHead = regexp.MustCompile(`(?i)^\[[a-z][a-z0-9_-]+\]` + blank + `*$`)
	pendingHead  = map[Kind]*regexp.Regexp{
		QEMU: regexp.MustCompile(`(?i)^\[PENDING\]` + blank + `*$`),
		LXC:  regexp.MustCompile(`(?i)^\[pve:pending\]` + blank + `*$`),
	}
	specialHead = regexp.MustCompile(`(?i)^\[special:(?:cloudinit|fleecing)\]` + blank + `*$`)
	configLine  = regexp.MustCompile(`^([a-z][a-z_-]*[0-9]*):` + blank + `*(.+?)` + blank + `*$`)
	// misread matches a configuration line that looks like an option about disks to a person, but
	// not to Proxmox.
	misread = regexp.MustCompile(`(?i)^` + blank + `*((?:ide|sata|scsi|virtio|unused|mp)[0-9]+|efidisk0|tpmstate0|rootfs|lock|template)` + blank + `*[:=]`)
)

// head reports whether a line of a guest's configuration begins a section, and returns the kind of
// the section. In a container's configuration, a section called pending may be the section of a
// snapshot with this name. In a virtual machine's configuration, brackets around something that is
// not a name begin a section that Proxmox 9 skips. In a container's configuration, brackets around
// something that is not a name begin no section, and Proxmox does not understand the line.
func head(kind Kind, line string) (begins part, is bool) {
	switch {
	case !strings.HasPrefix(line, "["):
		return current, false
	case pendingHead[kind].MatchString(line):
		return pending, true
	case snapshotHead.MatchString(line), kind == QEMU && specialHead.MatchString(line):
		return past, true
	case kind == QEMU && bracketed.MatchString(line):
		return skipped, true
	}
	return current, false
}

// parseConfig reads the current section of a guest's configuration and the disks of the pending
// section. The sections of snapshots describe the past and are ignored.
func parseConfig(id ID, text string) Config {
	c := Config{ID: id}
	var odd []oddity
	lines := map[string]bool{}
	in := current
	for n, line := range numbered(text) {
		if begins, is := head(id.Kind, line); is {
			in = begins
			if in == past && !specialHead.MatchString(line) {
				c.Snapshots = append(c.Snapshots, strings.Trim(line, "[] \t\v\f\r"))
			}
			if in == skipped {
				odd = append(odd, oddity{n, "begins a section that Proxmox does not know: version 9 skips the section, older versions read it as part of the current one"})
			}
			continue
		}
		if in > pending {
			continue
		}
		c.Volumes = append(c.Volumes, rawVolumes(id.Kind, line)...)
		m := configLine.FindStringSubmatch(line)
		switch {
		case m == nil:
			odd = append(odd, strange(n, line)...)
		case in == current && m[1] == "lock":
			c.Lock = m[2]
		case in == current && m[1] == id.Kind.nameKey():
			c.Name = m[2]
		case in == current && m[1] == "template":
			is, ok := boolean(m[2])
			if ok || id.Kind == LXC { // for a container, an invalid value means no
				c.Template = is
			}
		default:
			key := m[1]
			if key == "cdrom" && id.Kind == QEMU {
				key = "ide2" // ide2's older name
			}
			if !volumeKey.MatchString(key) {
				continue
			}
			if place := fmt.Sprint(in, key); lines[place] {
				odd = append(odd, oddity{n, key + " appears twice: Proxmox uses the last, snapwatch looks after both disks"})
			} else {
				lines[place] = true
			}
			if v, ok := parseVolume(key, m[2]); ok {
				c.Volumes = append(c.Volumes, v)
			}
		}
	}
	c.Warnings = words(fmt.Sprintf("%s/%d.conf", id.Kind.configDir(), id.VMID), odd)
	return c
}

// isConfig reports whether a text may be the text of a guest's configuration file: the text is
// empty, or at least one line has the form of an option.
func isConfig(text string) bool {
	empty := true
	for _, line := range numbered(text) {
		if configLine.MatchString(line) {
			return !strings.Contains(text, "\x00")
		}
		empty = empty && onlyBlank.MatchString(line)
	}
	return empty
}

// strange returns a warning about a line of a guest's configuration that a person understands but
// Proxmox does not. If a line looks neither like an option about disks nor like the header of a
// section, strange returns nil.
func strange(n int, line string) []oddity {
	if m := misread.FindStringSubmatch(line); m != nil {
		return []oddity{{n, fmt.Sprintf("Proxmox ignores this %s: write the key in lower case at the beginning of the line, then a colon and a value", m[1])}}
	}
	if strings.HasPrefix(line, "[") {
		return []oddity{{n, "does not begin a section: Proxmox reads the following lines as part of the section before"}}
	}
	return nil
}

// boolean parses a truth value as Proxmox does in a guest's configuration. In storage.cfg, Proxmox
// accepts fewer words as truth values.
func boolean(value string) (is, ok bool) {
	switch strings.ToLower(value) {
	case "1", "on", "yes", "true":
		return true, true
	case "0", "off", "no", "false":
		return false, true
	}
	return false, false
}

// parseVolume parses the value of a configuration line that names a disk. The value of a disk's
// line is a list of parts, separated by commas. Any part of the list may be the volume, in the form
// VOLUME, file=VOLUME or volume=VOLUME.
func parseVolume(key, value string) (Volume, bool) {
	volid := ""
	for o := range strings.SplitSeq(value, ",") {
		name, rest, keyed := strings.Cut(strings.Trim(o, " \t\v\f\r"), "=")
		switch {
		case keyed && name == "media" && rest == "cdrom":
			return Volume{}, false
		case keyed && (name == "file" || name == "volume"):
			volid = rest
		case !keyed && name != "" && volid == "":
			volid = name
		}
	}
	if volid == "" || volid == "none" || volid == "cdrom" {
		return Volume{}, false
	}
	storage, name, ok := strings.Cut(volid, ":")
	if !ok || strings.HasPrefix(volid, "/") {
		return Volume{Key: key, Name: volid}, true
	}
	// The volume of a linked clone is named base-100-disk-0/vm-101-disk-0 in the configuration.
	return Volume{Key: key, Storage: storage, Name: name[strings.LastIndexByte(name, '/')+1:]}, true
}
