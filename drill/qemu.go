package drill

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Machine is a virtual machine that starts a guest from its clones.
type Machine struct {
	// Config is the guest's kept configuration. Devices has the devices of the clones, by the name of
	// the volume.
	Config  string
	Devices map[string]string
	// Agent is the path of the socket that leads to the guest's agent, Console the path of the file
	// with the output of the serial console, and Firmware the path of the UEFI firmware.
	Agent, Console, Firmware string
}

// diskKey matches the keys of a virtual machine's disks in its configuration.
var diskKey = regexp.MustCompile(`^(virtio|scsi|sata|ide|efidisk)(\d{1,2})$`)

// diskOf is a disk of a configuration.
type diskOf struct {
	bus    string
	number int
	device string
	boot   int // the disk's place in the boot order, from 1 on, 0 for none
}

// QEMU returns the arguments with which QEMU starts the guest: without a network, and with all writes
// in temporary files. remarks name the disks of the configuration that are left out.
func (m Machine) QEMU() (argv, remarks []string, err error) {
	config := m.settings()
	q35 := strings.Contains(config["machine"], "q35")
	machine, memory := "pc", "512"
	if q35 {
		machine = "q35"
	}
	if text := strings.TrimPrefix(config["memory"], "current="); number.MatchString(text) {
		memory = text
	}
	argv = []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
		"-machine", machine + ",accel=kvm:tcg", "-cpu", "max", "-smp", "2", "-m", memory,
		"-vga", "std", "-serial", "file:" + m.Console,
		"-device", "virtio-serial", "-chardev", "socket,id=agent,server=on,wait=off,path=" + escaped(m.Agent),
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
	}
	disks, remarks := m.disks(config)
	if !slices.ContainsFunc(disks, func(d diskOf) bool { return d.bus != "efidisk" }) {
		return nil, nil, errors.New("the configuration names none of the clones as a disk")
	}
	if config["bios"] == "ovmf" {
		if m.Firmware == "" {
			return nil, nil, errors.New("the guest needs the UEFI firmware, which is not installed (apt install ovmf)")
		}
		argv = append(argv, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escaped(m.Firmware))
	}
	controllers := map[string]bool{}
	for _, d := range disks {
		if d.bus == "efidisk" {
			if config["bios"] == "ovmf" {
				argv = append(argv, "-drive", "if=pflash,unit=1,format=raw,snapshot=on,size=540672,file="+escaped(d.device))
			}
			continue
		}
		id := d.bus + strconv.Itoa(d.number)
		argv = append(argv, "-drive", "if=none,format=raw,snapshot=on,id="+id+",file="+escaped(d.device))
		controller, device := attach(d, config["scsihw"], q35)
		if controller != "" && !controllers[controller] {
			controllers[controller] = true
			argv = append(argv, "-device", controller)
		}
		if d.boot > 0 {
			device += ",bootindex=" + strconv.Itoa(d.boot)
		}
		argv = append(argv, "-device", device+",drive="+id)
	}
	return argv, remarks, nil
}

var number = regexp.MustCompile(`^[1-9]\d{1,6}$`)

// escaped returns a path as a value in an argument of QEMU, in which a comma separates values.
func escaped(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// attach returns QEMU's devices that connect a disk like the configuration does: the controller, ""
// if the machine has it, and the disk.
func attach(d diskOf, scsihw string, q35 bool) (controller, device string) {
	switch {
	case d.bus == "virtio":
		return "", "virtio-blk-pci"
	case d.bus == "scsi" && strings.HasPrefix(scsihw, "virtio-scsi"):
		return "virtio-scsi-pci,id=scsi", fmt.Sprintf("scsi-hd,bus=scsi.0,channel=0,scsi-id=0,lun=%d", d.number)
	case d.bus == "scsi":
		kind := map[string]string{"megasas": "megasas", "pvscsi": "pvscsi"}[scsihw]
		// An adapter of the kind lsi has seven places.
		return fmt.Sprintf("%s,id=scsi%c", cmp.Or(kind, "lsi"), 'a'+d.number/7), fmt.Sprintf("scsi-hd,bus=scsi%c.0,scsi-id=%d", 'a'+d.number/7, d.number%7)
	case d.bus == "sata" && !q35:
		return "ich9-ahci,id=sata", fmt.Sprintf("ide-hd,bus=sata.%d", d.number)
	case d.bus == "sata" || q35: // the machine q35 has a controller for SATA, and none for IDE
		return "", fmt.Sprintf("ide-hd,bus=ide.%d", d.number)
	}
	return "", fmt.Sprintf("ide-hd,bus=ide.%d,unit=%d", d.number/2, d.number%2)
}

// settings returns the lines of the configuration's current section, by key.
func (m Machine) settings() map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(m.Config) {
		if strings.HasPrefix(line, "[") {
			break
		}
		if key, value, found := strings.Cut(strings.TrimSpace(line), ":"); found && !strings.HasPrefix(line, "#") {
			all[key] = strings.TrimSpace(value)
		}
	}
	return all
}

// disks returns the disks of the configuration that have a clone, in the order of their keys.
func (m Machine) disks(config map[string]string) (disks []diskOf, remarks []string) {
	order := []string{config["bootdisk"]}
	if list, found := strings.CutPrefix(config["boot"], "order="); found {
		order = strings.Split(list, ";")
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		match := diskKey.FindStringSubmatch(key)
		volume, options, _ := strings.Cut(config[key], ",")
		if match == nil || strings.Contains(options, "media=cdrom") {
			continue
		}
		_, name, _ := strings.Cut(volume, ":")
		device, found := m.Devices[path.Base(name)]
		if !found {
			remarks = append(remarks, fmt.Sprintf("%s (%s) is left out: it has no clone", key, volume))
			continue
		}
		n, _ := strconv.Atoi(match[2])
		disks = append(disks, diskOf{match[1], n, device, slices.Index(order, key) + 1})
	}
	if !slices.ContainsFunc(disks, func(d diskOf) bool { return d.boot > 0 }) {
		for i := range disks {
			if disks[i].bus != "efidisk" {
				disks[i].boot = 1
				break
			}
		}
	}
	return disks, remarks
}
