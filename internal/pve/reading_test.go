package pve

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// This file reads Proxmox's files in a second way, written from the description of the format and
// independent of the package's code: character by character, without regular expressions. If this
// file's code and the package's code read a file of Proxmox differently, one of the two is wrong.

const whites = " \t\v\f\r"

func white(c byte) bool { return strings.IndexByte(whites, c) >= 0 }

// wordsOf splits a line into its words.
func wordsOf(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(whites, r) })
}

// headerOf parses the header "type: name" of a section. The type in a header may contain colons:
// the type ends at the last colon that has a name after it.
func headerOf(line string) (kind, name string, ok bool) {
	if line == "" || white(line[0]) {
		return "", "", false
	}
	switch w := wordsOf(line); len(w) {
	case 2:
		if kind, ok = strings.CutSuffix(w[0], ":"); ok && kind != "" {
			return strings.ToLower(kind), w[1], true
		}
	case 1:
		i := strings.LastIndexByte(w[0], ':')
		if i == len(w[0])-1 { // the name itself is this colon
			i = strings.LastIndexByte(strings.TrimSuffix(w[0], ":"), ':')
			if i >= 0 && i != len(w[0])-2 {
				return strings.ToLower(w[0][:i]), w[0][i+1:], true
			}
			if i = len(w[0]) - 2; i > 0 && w[0][i] == ':' {
				return strings.ToLower(w[0][:i]), ":", true
			}
			return "", "", false
		}
		if i > 0 {
			return strings.ToLower(w[0][:i]), w[0][i+1:], true
		}
	}
	return "", "", false
}

type read struct {
	kind, name string
	lines      [][2]string // the lines of the section, as pairs of key and value
}

func readAgain(text string) (all []read) {
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		switch bare := strings.TrimLeft(line, whites); {
		case strings.HasPrefix(bare, "#"):
		case line == "", line == "0":
			inside = false
		case !inside:
			kind, name, ok := headerOf(line)
			if inside = ok; ok {
				all = append(all, read{kind: kind, name: name})
			}
		case white(line[0]) && bare != "":
			key := wordsOf(bare)[0]
			value := strings.Trim(strings.TrimPrefix(bare, key), whites)
			all[len(all)-1].lines = append(all[len(all)-1].lines, [2]string{key, value})
		}
	}
	return all
}

// first returns the first value of a key in a section that the function in the argument
// `may` accepts.
func (r read) first(key string, may func(string) bool) (string, bool) {
	for _, l := range r.lines {
		if l[0] == key && may(l[1]) {
			return l[1], true
		}
	}
	return "", false
}

// usable returns, by name, the dataset (option pool) of each storage that Proxmox would use on node
// pve1.
func usable(text string) map[string]string {
	pools := map[string]string{}
	for _, r := range readAgain(text) {
		if r.kind != "zfspool" || !isName(r.name, "._-") || len(r.name) < 2 || !letter(r.name[0]) || r.name == "local" {
			continue
		}
		delete(pools, r.name)
		pool, ok := r.first("pool", func(v string) bool { return v != "" })
		if !ok {
			continue
		}
		off, said := r.first("disable", func(v string) bool { return v == "" || v == "0" || v == "1" })
		if said && off != "0" { // the key disable without a value means yes
			continue
		}
		nodes, limited := r.first("nodes", func(v string) bool {
			return v != "" && !slices.ContainsFunc(listOf(v), func(n string) bool { return !isName(n, "-") })
		})
		if limited && !slices.Contains(listOf(nodes), "pve1") {
			continue
		}
		pools[r.name] = pool
	}
	return pools
}

func listOf(v string) []string {
	return wordsOf(strings.NewReplacer(",", " ", ";", " ").Replace(v))
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isName reports whether s consists of letters and digits. Except as first and last character, s
// may also have the characters in the argument `between`.
func isName(s, between string) bool {
	for i := range len(s) {
		c := s[i]
		inside := i > 0 && i < len(s)-1
		if !letter(c) && (c < '0' || c > '9') && (!inside || strings.IndexByte(between, c) < 0) {
			return false
		}
	}
	return s != ""
}

// startedAgain reads the text of ha/resources.cfg with the code of this file. startedAgain returns
// the guests that high availability keeps started.
func startedAgain(text string) map[int]bool {
	wanted := map[string]bool{}
	for _, r := range readAgain(text) {
		if (r.kind != "vm" && r.kind != "ct") || len(r.name) < 2 || strings.Trim(r.name, "0123456789") != "" || r.name[0] == '0' {
			continue
		}
		state, ok := r.first("state", func(v string) bool {
			return strings.Contains("|started|stopped|enabled|disabled|ignored|", "|"+v+"|") && v != ""
		})
		wanted[r.kind+r.name] = !ok || state == "started" || state == "enabled"
	}
	all := map[int]bool{}
	for id, want := range wanted {
		vmid := 0
		if _, err := fmt.Sscan(id[2:], &vmid); err == nil && want {
			all[vmid] = true
		}
	}
	return all
}

// agreeOnStorages checks each storage that Proxmox would use: snapwatch must read the storage as
// Proxmox does, or warn about it. If snapwatch uses a storage that Proxmox would not use, snapwatch
// must print a warning.
func agreeOnStorages(t require.TestingT, text string) {
	got, odd := parseStorages(text, "pve1")
	read := map[string]string{}
	for _, s := range got {
		read[s.Name] = s.Dataset
	}
	said := strings.Join(words("storage.cfg", odd), "\n")
	for name, pool := range usable(text) {
		if read[name] != pool {
			require.Contains(t, said, fmt.Sprintf("%q", name), "storage %s on %s", name, pool)
		}
		delete(read, name)
	}
	for name := range read {
		require.Contains(t, said, fmt.Sprintf("%q", name), "storage %s, which Proxmox does not use", name)
	}
}

// disksAgain reads the text of a guest's configuration with the code of this file. disksAgain
// returns the volumes that Proxmox would use for a guest, and whether the guest is a template.
func disksAgain(kind Kind, text string) (volumes map[string]string, template bool) {
	volumes = map[string]string{}
	in := "current"
	for whole := range strings.SplitSeq(text, "\n") {
		line := strings.TrimRight(whole, whites)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && !strings.Contains(line[1:len(line)-1], "]") {
			name := strings.ToLower(line[1 : len(line)-1])
			isSnap := len(name) > 1 && letter(name[0]) && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
			switch {
			case kind == QEMU && name == "pending", kind == LXC && name == "pve:pending":
				in = "pending"
				for place := range volumes {
					if strings.HasPrefix(place, in) {
						delete(volumes, place) // a later line with the same key replaces an earlier one
					}
				}
				continue
			case isSnap, kind == QEMU:
				in = ""
				continue
			}
		}
		key, value, ok := strings.Cut(whole, ":")
		if ok = ok && value != ""; kind == LXC && key == "template" && in == "current" && ok {
			template = false // for a container, any invalid value of template means no
		}
		value = strings.Trim(value, whites)
		if in == "" || !ok || value == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if key == "template" && in == "current" {
			yes := slices.Contains([]string{"1", "on", "yes", "true"}, strings.ToLower(value))
			no := slices.Contains([]string{"0", "off", "no", "false"}, strings.ToLower(value))
			template = yes || template && !no // an invalid value of template changes nothing
		}
		slot := strings.TrimRight(key, "0123456789")
		numbered := slot != key && slices.Contains([]string{"ide", "sata", "scsi", "virtio", "unused", "mp"}, slot)
		if !numbered && key != "rootfs" && key != "efidisk0" && key != "tpmstate0" {
			continue
		}
		delete(volumes, in+key)
		var named []string
		for _, o := range strings.Split(value, ",") {
			bare := strings.TrimPrefix(strings.TrimPrefix(o, "volume="), "file=")
			if strings.Trim(o, whites) != "" && (bare != o || !strings.Contains(o, "=")) {
				named = append(named, bare)
			}
		}
		if len(named) != 1 || strings.ContainsAny(named[0], whites) { // Proxmox refuses a line without exactly one volume
			continue
		}
		if storage, name, _ := strings.Cut(named[0], ":"); storage != "" && name != "" && storage[0] != '/' {
			volumes[in+key] = named[0]
		}
		if strings.Contains(","+value+",", ",media=cdrom,") {
			delete(volumes, in+key)
		}
	}
	return volumes, template
}

// agreeOnDisks checks each disk that Proxmox would use for a guest: snapwatch must read the disk,
// or warn about the disk.
func agreeOnDisks(t require.TestingT, kind Kind, text string) {
	c := parseConfig(ID{100, kind}, text)
	want, template := disksAgain(kind, text)
	for place, volid := range want {
		storage, name, _ := strings.Cut(volid, ":")
		name = name[strings.LastIndexByte(name, '/')+1:]
		if !slices.ContainsFunc(c.Volumes, func(v Volume) bool { return v.Storage == storage && v.Name == name }) {
			require.NotEmpty(t, c.Warnings, "%s: %s", place, volid)
		}
	}
	if template != c.Template {
		require.NotEmpty(t, c.Warnings, "template")
	}
}

// The test makes random files of Proxmox from the lines and the pieces of lines in these variables.
var (
	strangeSections = []string{
		"zfspool: data", "zfspool:data", "ZFSPOOL:\tdata ", "zfspool: ssd", "zfspool: local", "zfspool: d", " zfspool: data", "zfspool: a b",
		"zfspool::data", "zfspool: :", "dir: local", "dir: data", "nfs: far", "zfspool", "some words", "",
		"", "", " ", "\t \r", "\r", "0", "# zfspool: x", "\t# pool x",
		"\tpool tank/data", "\tpool\ttank/data", "    pool   ssd/vm  ", "\tpool tank/data\r", "\tpool", "pool tank/data", "\tpool -x", "\tpool tank/",
		"\tdisable", "\tdisable 1", "\tdisable\t0", "\tdisable yes", "\tdisable 2", "\tdisable\r", "\tnodes pve1", "\tnodes\tpve2,pve1", "\tnodes pve2;pve3", "\tnodes",
		"\tnodes ,", "\tnodes pve_1", "\tnodes pve1 pve2", "\tcontent images,rootdir", "\tcontent none", "\tsparse", "\tpath /var",
		"vm: 100", "VM:100", "ct: 101", "ct:\t102", "vm: 0100", "service: 5", "\tstate started", "\tstate\tstopped", "\tstate", "\tstate off", "\tstate ignored", "\tgroup a",
	}
	strangeConfigs = []string{
		"scsi0: data:vm-100-disk-0,size=8G", "scsi0:data:vm-100-disk-1", "scsi1: size=8G,data:vm-100-disk-2", "sata0: size=8G,file=data:vm-100-disk-3", " scsi2: data:vm-100-disk-4",
		"SCSI3: data:vm-100-disk-5", "scsi4 : data:vm-100-disk-6", "rootfs: data:subvol-100-disk-0", "mp0: volume=data:subvol-100-disk-1,mp=/a", "mp1: /srv,mp=/srv", "unused0: data:vm-9-disk-0",
		"ide2: none,media=cdrom", "ide2: data:x.iso,media=cdrom", "ide0: data:base-9-disk-0/vm-100-disk-7", "scsi0: ", "scsi0:", "efidisk0: ,data:vm-100-disk-8,", "virtio0: /dev/sda",
		"[PENDING]", "[pending]\r", "[pve:pending]", "[Pve:Pending] ", "[snap]", "[x]", "[x", "[special:cloudinit]", "[]", "[a]b]", "",
		" ", "\r", "# scsi9: data:x", "#", "lock: backup", "lock:\tmigrate", "template: 1", "template: yes", "template: TRUE\r", "template: 0", "name: a", "boot: ", "lxc.mount.entry: /a b",
	}
)

func drawn(t *rapid.T, lines []string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 14).Draw(t, "lines"), "\n")
}

func TestStoragesAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { agreeOnStorages(t, drawn(t, strangeSections)) })
}

func TestHAIsReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawn(t, strangeSections)
		got, _ := parseHA(text)
		require.Equal(t, startedAgain(text), got)
	})
}

func TestDisksAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agreeOnDisks(t, rapid.SampledFrom([]Kind{QEMU, LXC}).Draw(t, "kind"), drawn(t, strangeConfigs))
	})
}

// FuzzSections compares, for any text, the two ways to read storages and high availability
// resources.
func FuzzSections(f *testing.F) {
	for i := range strangeSections {
		f.Add(strings.Join(append(slices.Clone(strangeSections[i:]), strangeSections[:i]...), "\n"))
		f.Add("zfspool: data\n\tpool tank/data\n" + strangeSections[i] + "\n\tpool ssd/vm\n")
		f.Add("vm: 100\n" + strangeSections[i] + "\n\tstate stopped\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) {
			return // Proxmox has a special syntax for lists with zero bytes
		}
		agreeOnStorages(t, text)
		got, _ := parseHA(text)
		require.Equal(t, startedAgain(text), got)
	})
}

// FuzzConfig compares, for any text, the two ways to read the configuration of a guest.
func FuzzConfig(f *testing.F) {
	for i := range strangeConfigs {
		text := strings.Join(append(slices.Clone(strangeConfigs[i:]), strangeConfigs[:i]...), "\n")
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, container bool) {
		kind := QEMU
		if container {
			kind = LXC
		}
		agreeOnDisks(t, kind, text)
	})
}
