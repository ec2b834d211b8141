package pve

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
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
	// Lock is Proxmox's own mark for an operation under way, such as backup,
	// migrate or rollback; "suspended" is a hibernated guest.
	Lock string
	// Volumes are all volumes the current configuration names.
	Volumes []Volume
	// Text is the file.
	Text string
	// Changed is when the configuration was last written: a lock is not younger.
	Changed time.Time
}

// Volume is one disk line of a configuration.
type Volume struct {
	// Key is the line's key, such as scsi0, rootfs or unused1.
	Key string
	// Storage is the storage's name; "" for a path on the node.
	Storage string
	// Name is the volume's last component, such as vm-100-disk-0.
	Name string
}

// Unused reports whether the volume is kept but not attached to the guest.
func (v Volume) Unused() bool { return strings.HasPrefix(v.Key, "unused") }

var volumeKey = regexp.MustCompile(`^(?:(?:ide|sata|scsi|virtio|unused|mp)\d+|efidisk0|tpmstate0|rootfs)$`)

// parseConfig reads the current part of a configuration and what is pending; the
// sections of snapshots that follow describe the past.
func parseConfig(id ID, text string) Config {
	c := Config{ID: id}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && !strings.EqualFold(line, "[PENDING]") {
			break
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		switch {
		case key == "lock":
			c.Lock = value
		case key == "template":
			c.Template = value == "1"
		case volumeKey.MatchString(key):
			if v, ok := parseVolume(key, value); ok {
				c.Volumes = append(c.Volumes, v)
			}
		}
	}
	return c
}

func parseVolume(key, value string) (Volume, bool) {
	options := strings.Split(value, ",")
	volid := options[0]
	for _, o := range options { // the volume's own key may be written, and anywhere
		if name, ok := strings.CutPrefix(o, "file="); ok {
			volid = name
		} else if name, ok := strings.CutPrefix(o, "volume="); ok {
			volid = name
		}
	}
	if volid == "none" || slices.Contains(options, "media=cdrom") {
		return Volume{}, false
	}
	storage, name, ok := strings.Cut(volid, ":")
	if !ok || strings.HasPrefix(volid, "/") {
		return Volume{Key: key, Name: volid}, true
	}
	// A linked clone is written base-100-disk-0/vm-101-disk-0.
	return Volume{Key: key, Storage: storage, Name: name[strings.LastIndexByte(name, '/')+1:]}, true
}

// Storage is an entry of type zfspool in storage.cfg.
type Storage struct {
	Name string
	// Dataset is the parent of the storage's volumes, "pool" in storage.cfg.
	Dataset string
}

// readStorages reads the zfspool entries that are enabled on the node.
func readStorages(path, node string) ([]Storage, error) {
	var all []Storage
	err := readSections(path, func(kind, name string, keys map[string]string) {
		disable, disabled := keys["disable"]
		if disabled && slices.Contains([]string{"0", "no", "off", "false"}, disable) {
			disabled = false
		}
		if kind != "zfspool" || disabled || keys["pool"] == "" {
			return
		}
		if nodes, limited := keys["nodes"]; limited && !slices.Contains(splitList(nodes), node) {
			return
		}
		all = append(all, Storage{Name: name, Dataset: keys["pool"]})
	})
	return all, err
}

// readHA reads which guests high availability keeps started. A missing file means
// that nothing is managed.
func readHA(path string) (map[int]bool, error) {
	started := map[int]bool{}
	err := readSections(path, func(kind, name string, keys map[string]string) {
		state := keys["state"]
		vmid, err := strconv.Atoi(name)
		if (kind == "vm" || kind == "ct") && err == nil && (state == "" || state == "started" || state == "enabled") {
			started[vmid] = true
		}
	})
	if errors.Is(err, fs.ErrNotExist) {
		return started, nil
	}
	return started, err
}

// readSections reads Proxmox's section format: a line "type: name" followed by
// indented lines "key value" or bare flags.
func readSections(path string, each func(kind, name string, keys map[string]string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var kind, name string
	var keys map[string]string
	end := func() {
		if kind != "" {
			each(kind, name, keys)
		}
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			end()
			kind, name, _ = strings.Cut(text, ":")
			name, keys = strings.TrimSpace(name), map[string]string{}
			continue
		}
		if keys != nil {
			key, value, _ := strings.Cut(text, " ")
			keys[key] = strings.TrimSpace(value)
		}
	}
	end()
	return lines.Err()
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
}
