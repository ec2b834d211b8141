package pve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Storage is an entry of type zfspool in storage.cfg.
type Storage struct {
	Name string
	// Dataset is the parent of the storage's volumes; its key in storage.cfg is "pool".
	Dataset string
}

var (
	// storageName and nodeName match the names of storages and nodes that Proxmox accepts.
	storageName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`)
	nodeName    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$`)
	// datasetName matches a name that ZFS accepts for a dataset and that no command reads as a
	// flag.
	datasetName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.: -]*(?:/[A-Za-z0-9_.: -]+)*$`)
)

// readStorages reads from storage.cfg the zfspool storages that are enabled on the node.
func readStorages(path, node string) (all []Storage, warnings []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	all, odd := parseStorages(string(text), node)
	return all, words("storage.cfg", odd), nil
}

func parseStorages(text, node string) (all []Storage, odd []oddity) {
	sections, odd := parseSections(text)
	for i, s := range sections {
		say := func(line int, format string, args ...any) {
			odd = append(odd, oddity{line, fmt.Sprintf(format, args...)})
		}
		again := func(other section) bool { return other.name == s.name }
		if next := slices.IndexFunc(sections[i+1:], again); next >= 0 {
			say(sections[i+1+next].line, "storage %q appears twice: Proxmox uses the last", s.name)
			if sections[i+1+next].kind == zfspool {
				continue
			}
		}
		switch {
		case s.kind != zfspool:
		case !storageName.MatchString(s.name):
			say(s.line, "Proxmox skips storage %q: the name is not valid for a storage", s.name)
		case s.name == "local":
			say(s.line, `Proxmox always reads the storage "local" as a directory`)
		default:
			storage, here, more := s.storage(node)
			odd = append(odd, more...)
			if here {
				all = append(all, storage)
			}
		}
	}
	return all, odd
}

const zfspool = "zfspool"

// storage returns the storage that a section of storage.cfg describes, and true if the storage is
// enabled on the node.
func (s section) storage(node string) (storage Storage, here bool, odd []oddity) {
	disable, disabled, odd := s.accepted("disable", "the storage stays enabled", func(t setting) bool {
		return t.bare || t.value == "0" || t.value == "1"
	})
	nodes, limited, more := s.accepted("nodes", "the storage is for all nodes", func(t setting) bool {
		return !t.bare && !slices.ContainsFunc(splitList(t.value), func(n string) bool { return !nodeName.MatchString(n) })
	})
	odd = append(odd, more...)
	pool, found, more := s.accepted("pool", "the storage has no pool", func(t setting) bool { return !t.bare })
	odd = append(odd, more...)
	content, told, more := s.accepted("content", "the storage holds disks", func(t setting) bool { return !t.bare })
	odd = append(odd, more...)
	kinds := splitList(content.value)
	switch {
	case !found:
		odd = append(odd, oddity{s.line, fmt.Sprintf("storage %q has no pool: Proxmox does not use it", s.name)})
	case !datasetName.MatchString(pool.value):
		odd = append(odd, oddity{pool.line, fmt.Sprintf("pool %q of %q is not a dataset's name: snapwatch does not look for its disks", pool.value, s.name)})
		found = false
	case told && !slices.Contains(kinds, "images") && !slices.Contains(kinds, "rootdir"):
		odd = append(odd, oddity{content.line, fmt.Sprintf("content %q of %q: Proxmox does not use a ZFS storage without images or rootdir", content.value, s.name)})
	}
	enabled := !disabled || disable.value == "0"
	here = found && enabled && (!limited || slices.Contains(splitList(nodes.value), node))
	return Storage{Name: s.name, Dataset: pool.value}, here, odd
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; \t\v\f\r", r) })
}

// haStates has the values that Proxmox accepts for the key state in ha/resources.cfg. If a guest
// has no key state, high availability keeps the guest started.
var haStates = []string{"started", "stopped", "enabled", "disabled", "ignored"}

var haName = regexp.MustCompile(`^[1-9][0-9]+$`)

// readHA reads from ha/resources.cfg the guests that Proxmox's high availability keeps started. If
// the file is missing, high availability manages none of the guests.
func readHA(path string) (started map[int]bool, warnings []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	started, odd := parseHA(string(text))
	return started, words("ha/resources.cfg", odd), nil
}

func parseHA(text string) (started map[int]bool, odd []oddity) {
	started = map[int]bool{}
	sections, odd := parseSections(text)
	wanted := map[string]bool{}
	for _, s := range sections {
		if (s.kind != "vm" && s.kind != "ct") || !haName.MatchString(s.name) {
			continue
		}
		state, told, more := s.accepted("state", "the guest is kept started", func(t setting) bool { return slices.Contains(haStates, t.value) })
		odd = append(odd, more...)
		wanted[s.kind+":"+s.name] = !told || state.value == "started" || state.value == "enabled"
	}
	for id, want := range wanted {
		_, name, _ := strings.Cut(id, ":")
		if vmid, err := strconv.Atoi(name); want && err == nil {
			started[vmid] = true
		}
	}
	return started, odd
}
