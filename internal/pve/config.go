package pve

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// Kind is what a guest is run by.
type Kind string

// The kinds of guests, as they stand in Proxmox's ids.
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

// nameKey is the key of a guest's name.
func (k Kind) nameKey() string {
	if k == QEMU {
		return "name"
	}
	return "hostname"
}

// ID names a guest as Proxmox and its exporters do.
type ID struct {
	VMID int
	Kind Kind
}

func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Kind, id.VMID) }

// Config is what a guest's configuration file says that matters for its disks.
type Config struct {
	ID
	Template bool
	// Name is what people call the guest, "" where it has none.
	Name string
	// Lock is Proxmox's own mark for an operation under way, such as backup,
	// migrate or rollback; "suspended" is a hibernated guest.
	Lock string
	// Volumes are all volumes the current configuration names, and the paths in options that
	// Proxmox does not read itself.
	Volumes []Volume
	// Snapshots are the names of the snapshots that Proxmox made of the guest.
	Snapshots []string
	// Text is the file.
	Text string
	// Changed is when the configuration was last written: a lock is not younger.
	Changed time.Time
	// Problem is why the file could not be read, "" if it was. Then nothing else is known of
	// the guest but its ID: it may be in any state and use any disk.
	Problem string
	// Warnings are lines that Proxmox reads in another way than a person does.
	Warnings []string
}

// Volume is one disk line of a configuration, or a path in another one.
type Volume struct {
	// Key is the line's key, such as scsi0, rootfs, unused1 or args.
	Key string
	// Storage is the storage's name; "" for a path on the node.
	Storage string
	// Name is the volume's last component, such as vm-100-disk-0.
	Name string
}

// String returns the volume as it stands in a configuration.
func (v Volume) String() string {
	if v.Storage == "" {
		return v.Name
	}
	return v.Storage + ":" + v.Name
}

// Unused reports whether the volume is kept but not attached to the guest.
func (v Volume) Unused() bool { return strings.HasPrefix(v.Key, "unused") }

// Raw reports whether Proxmox hands the volume on as it stands, to QEMU or LXC: it is a path then.
func (v Volume) Raw() bool { return rawKey.MatchString(v.Key) }

var (
	rawKey  = regexp.MustCompile(`^(?:args|lxc\.mount\.entry|dev\d+)$`)
	rawLine = map[Kind]*regexp.Regexp{
		QEMU: regexp.MustCompile(`^(args):(.*)$`),
		LXC:  regexp.MustCompile(`^(lxc\.mount\.entry|dev\d+)` + blank + `*[:=]` + blank + `*([^ \t]*)`),
	}
	rawPath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_.-])(/[A-Za-z0-9_.:/-]+)`)
)

// rawVolumes are the paths that a line names which Proxmox hands on to QEMU or LXC.
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

// part is a part of a configuration.
type part int

const (
	// current is what holds, pending what will hold at the guest's next start.
	current part = iota
	pending
	// past is a snapshot's, or what Proxmox notes for itself.
	past
	// skipped is a section that Proxmox does not know.
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
	// misread is a line that a person takes for one of those that count.
	misread = regexp.MustCompile(`(?i)^` + blank + `*((?:ide|sata|scsi|virtio|unused|mp)[0-9]+|efidisk0|tpmstate0|rootfs|lock|template)` + blank + `*[:=]`)
)

// head returns the part that a line begins, if it begins one. A container's snapshot may be
// called pending. What is in brackets and no name is a section that Proxmox 9 skips, in a
// virtual machine's configuration only; in all others the line alone is not understood.
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

// parseConfig reads the current part of a configuration and the disks that are pending; the
// sections of snapshots describe the past.
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
				odd = append(odd, oddity{n, "is a section that Proxmox does not know: version 9 skips what follows, older ones take it for current"})
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
			if ok || id.Kind == LXC { // a container's value counts though it is none
				c.Template = is
			}
		default:
			key := m[1]
			if key == "cdrom" && id.Kind == QEMU {
				key = "ide2" // its older name
			}
			if !volumeKey.MatchString(key) {
				continue
			}
			if place := fmt.Sprint(in, key); lines[place] {
				odd = append(odd, oddity{n, key + " stands there twice: Proxmox takes the last, and both disks are looked after"})
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

// isConfig reports whether a text is a configuration at all: empty, or with one line of the
// form of an option.
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

// strange is what is to be said of a line that Proxmox does not understand: something
// where a person would.
func strange(n int, line string) []oddity {
	if m := misread.FindStringSubmatch(line); m != nil {
		return []oddity{{n, fmt.Sprintf("Proxmox does not read this %s: a key begins its line, in lower case, and a colon and a value follow", m[1])}}
	}
	if strings.HasPrefix(line, "[") {
		return []oddity{{n, "begins no section: Proxmox takes what follows for a part of the one before"}}
	}
	return nil
}

// boolean reads one as configurations of guests have it; storage.cfg is stricter.
func boolean(value string) (is, ok bool) {
	switch strings.ToLower(value) {
	case "1", "on", "yes", "true":
		return true, true
	case "0", "off", "no", "false":
		return false, true
	}
	return false, false
}

// parseVolume reads the value of a disk's line. The volume stands anywhere in it, alone or
// behind its key.
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
	// A linked clone is written base-100-disk-0/vm-101-disk-0.
	return Volume{Key: key, Storage: storage, Name: name[strings.LastIndexByte(name, '/')+1:]}, true
}
